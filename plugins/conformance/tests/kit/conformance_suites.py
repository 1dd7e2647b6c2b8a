"""Suites as plugins' authors write them; one of them is announced by an entry point."""

from __future__ import annotations

from providerhub_conformance import AnthropicWire, NoWire, OpenAIChatWire, ProviderConformance


class TestOpenAI(ProviderConformance):
    provider = "good-openai"
    wire = OpenAIChatWire()


class TestAlias(ProviderConformance):
    provider = "good-openai"
    wire = OpenAIChatWire()
    model = "l"


class TestAsync(ProviderConformance):
    provider = "good-async"
    wire = OpenAIChatWire()


class TestAnthropic(ProviderConformance):
    provider = "good-anthropic"
    wire = AnthropicWire()


class TestSilent(ProviderConformance):
    provider = "good-silent"
    wire = OpenAIChatWire()


class TestInside(ProviderConformance):
    provider = "good-inside"
    wire = NoWire()
