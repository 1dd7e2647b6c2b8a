"""Calls that count the tokens of a request. The driver asks a stand-in for the provider, as at embeddings."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any, Unpack

from providerhub._calling.intake import CallSpec, call_spec
from providerhub._calling.keywords import Knobs
from providerhub._calling.messages import Conversation
from providerhub._finding.registry import ModelSpec, Registry
from providerhub._settings.settings import Settings
from providerhub._values import Completion, Detail, Finish, Request, TokenCount, Usage, UsageDelta
from providerhub._values.errors import CapabilityError, ConfigurationError, PluginError
from providerhub._values.provider import CallContext, Piece

_COUNT = "token_count"
_CANNOT = "the provider cannot count tokens: it has no method count_tokens(request, call); name a model of another provider"


def counting_spec(
    settings: Settings, registry: Registry, model: ModelSpec, messages: Conversation, /, **knobs: Unpack[Knobs]
) -> CallSpec:
    """Check every argument of `Hub.count_tokens`, as `call_spec` does."""
    if "stream" in knobs:
        raise TypeError("count_tokens has no keyword 'stream': its result is one number; leave it out")
    spec = call_spec(settings, registry, model, messages, stream=False, **knobs)
    spec.asker, spec.counts, spec.cache, spec.output = Counter, True, False, None
    return spec


def count_of(answer: Completion) -> TokenCount:
    """The result of a call from the answer that the driver has put together, if no callable around it gave another one."""
    if _COUNT not in answer.details:
        msg = "a callable of around answered a call of count_tokens without a count; let it return the result of go_on()"
        raise ConfigurationError(msg)
    return TokenCount(answer.details[_COUNT], answer.model, answer.provider, answer.route)


class Counter:
    """Stands for a provider in a call that counts tokens: a driver asks it as it asks a provider for a conversation."""

    def __init__(self, provider: Any) -> None:
        self._provider = provider
        self.astream = self._astream if callable(getattr(provider, "acount_tokens", None)) else None

    def stream(self, request: Request, call: CallContext) -> Iterator[Piece]:
        count = getattr(self._provider, "count_tokens", None)
        if not callable(count):
            raise CapabilityError(_CANNOT)
        yield from _pieces(count(request, call))

    async def _astream(self, request: Request, call: CallContext) -> AsyncIterator[Piece]:
        for piece in _pieces(await self._provider.acount_tokens(request, call)):
            yield piece


def _pieces(count: object) -> Iterator[Piece]:
    if not isinstance(count, int) or isinstance(count, bool) or count < 0:
        raise PluginError(f"count_tokens() returned {count!r}; it must return a whole number, 0 or more")
    yield Detail(_COUNT, count)
    yield UsageDelta(Usage(0, 0, cost=0.0))
    yield Finish("stop")
