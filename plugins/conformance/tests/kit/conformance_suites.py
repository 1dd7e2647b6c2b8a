"""Suites as plugin authors write them; an entry point announces one of them."""

from __future__ import annotations

import json

import attrs

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


class TokenWire(OpenAIChatWire):
    def aside(self, request):
        return json.dumps({"access_token": f"token-of-{request.json()['key']}"}).encode() if request.path == "/token" else None

    def asked(self, request):
        asked = super().asked(request)
        return attrs.evolve(asked, key=asked.key.removeprefix("token-of-"))


class TestToken(ProviderConformance):
    provider = "good-token"
    wire = TokenWire()


class TestAnthropic(ProviderConformance):
    provider = "good-anthropic"
    wire = AnthropicWire()


class TestSilent(ProviderConformance):
    provider = "good-silent"
    wire = OpenAIChatWire()


class TestInside(ProviderConformance):
    provider = "good-inside"
    wire = NoWire()
