"""The conformance suite that `providerhub conformance llm` runs. It needs the package `providerhub-conformance`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import llm
from llm.plugins import pm

from providerhub_conformance import NoWire, ProviderConformance


class Echo(llm.Model):
    """A model that answers with the prompt, so that the suite needs no plugin of llm."""

    model_id = "conformance"
    can_stream = True

    def execute(self, prompt: Any, stream: bool, response: Any, conversation: Any) -> Iterator[str]:  # noqa: FBT001 -- llm's interface
        """Yield the text of the prompt, line by line."""
        del stream, response, conversation
        yield from str(prompt.prompt).splitlines(keepends=True)


class _Plugin:
    @llm.hookimpl
    def register_models(self, register: Callable[[llm.Model], None]) -> None:
        register(Echo())


pm.register(_Plugin())


class LlmConformance(ProviderConformance):
    """All checks of the conformance kit, for a model that the suite registers with llm."""

    provider = "llm"
    wire = NoWire()
    model = "conformance"
