"""Calls for embeddings. They take the way of every call: the driver asks a stand-in for the provider, which embeds the texts."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any, TypedDict, Unpack

import attrs

from providerhub._calling.intake import CallSpec, call_spec
from providerhub._finding.needs import Needs
from providerhub._finding.registry import ModelSpec, Registry
from providerhub._settings.settings import Settings
from providerhub._values import (
    Completion,
    Detail,
    EmbeddingRequest,
    Embeddings,
    Finish,
    Options,
    RetryPolicy,
    Timeout,
    Usage,
    UsageDelta,
)
from providerhub._values.checks import COUNT, NAMES, Check
from providerhub._values.errors import CapabilityError, ConfigurationError, InvalidRequestError, PluginError, ProtocolError
from providerhub._values.provider import CallContext, Piece

TEXTS = Check("a text, or a list of texts that are not empty", lambda value: isinstance(value, Sequence) and NAMES.test(value))
LIMIT = 100
"""The most texts of one request to a provider without `embedding_limit`."""
_VECTORS = "vectors"


class EmbeddingKnobs(TypedDict, total=False):
    """The keywords of `complete` that `embed` has too. `None` is the same as not given."""

    timeout: float | Timeout | None
    retry: RetryPolicy | None
    strategy: str | None
    hedge: bool | None
    metadata: Mapping[str, Any] | None
    options: Mapping[str, Options] | None


def embedding_spec(
    settings: Settings,
    registry: Registry,
    model: ModelSpec,
    texts: str | Sequence[str],
    /,
    *,
    dimensions: int | None = None,
    **knobs: Unpack[EmbeddingKnobs],
) -> CallSpec:
    """Check every argument of `Hub.embed`, as `call_spec` does."""
    for name in knobs.keys() - EmbeddingKnobs.__annotations__.keys():
        raise TypeError(f"embed has no keyword {name!r}; it has dimensions, {', '.join(EmbeddingKnobs.__annotations__)}")
    texts = (texts,) if isinstance(texts, str) else texts
    TEXTS.check(texts, "texts", InvalidRequestError)
    if not texts:
        raise InvalidRequestError("texts must hold one text at least, and it is empty")
    COUNT.or_none.check(dimensions, "dimensions", InvalidRequestError)
    messages = [{"role": "user", "content": text} for text in texts]
    spec = call_spec(settings, registry, model, messages, **knobs)
    asked = spec.request
    spec.request = EmbeddingRequest(asked.model, asked.messages, texts=tuple(texts), dimensions=dimensions)
    spec.needs, spec.asker, spec.cache = Needs(embeddings=True), Embedder, False
    return spec


def embeddings_of(answer: Completion) -> Embeddings:
    """The result of a call from the answer that the driver has put together, if no callable around it gave another one."""
    if _VECTORS not in answer.details:
        msg = "a callable of around answered a call for embeddings without vectors; let it return the result of go_on()"
        raise ConfigurationError(msg)
    return Embeddings(answer.details[_VECTORS], answer.usage, answer.model, answer.provider, answer.route)


class Embedder:
    """Stands for a provider in a call for embeddings: a driver asks it as it asks a provider for a conversation."""

    def __init__(self, provider: Any) -> None:
        self._provider = provider
        self.astream = self._astream if callable(getattr(provider, "aembed", None)) else None

    def stream(self, request: EmbeddingRequest, call: CallContext) -> Iterator[Piece]:
        """Embed the texts, in as many requests as the provider's limits need."""
        embed = getattr(self._provider, "embed", None)
        if not callable(embed):
            raise CapabilityError("the provider has no method embed(request, call)", capability="embeddings")
        yield from _pieces([_checked(batch, embed(batch, call)) for batch in batches(self._provider, request)])

    async def _astream(self, request: EmbeddingRequest, call: CallContext) -> AsyncIterator[Piece]:
        embed = self._provider.aembed
        for piece in _pieces([_checked(batch, await embed(batch, call)) for batch in batches(self._provider, request)]):
            yield piece


def _checked(request: EmbeddingRequest, answer: object) -> Embeddings:
    if not isinstance(answer, Embeddings):
        fix = ""
        if hasattr(answer, "__await__"):
            getattr(answer, "close", bool)()  # a coroutine that is not awaited would warn
            fix = "; rename an `async def embed` to aembed, and write an embed() for synchronous calls"
        raise PluginError(f"embed() returned {type(answer).__name__}; it must return Embeddings{fix}")
    if len(answer.vectors) != len(request.texts):
        raise ProtocolError(f"the service returned {len(answer.vectors)} vectors for {len(request.texts)} texts")
    if not all(map(_is_vector, answer.vectors)):
        raise ProtocolError("the service returned vectors that are not lists of finite numbers")
    return answer


def _pieces(answers: list[Embeddings]) -> Iterator[Piece]:
    vectors = [vector for answer in answers for vector in answer.vectors]
    if len(lengths := set(map(len, vectors))) > 1:
        raise ProtocolError(f"the service returned vectors of several lengths: {', '.join(map(str, sorted(lengths)))}")
    yield Detail(_VECTORS, vectors)
    known = [answer.usage for answer in answers if answer.usage is not None]
    counts = [usage.input_tokens for usage in known if usage.input_tokens is not None]
    costs = [usage.cost for usage in known if usage.cost is not None]
    if len(counts) == len(answers):
        yield UsageDelta(Usage(sum(counts), 0, cost=sum(costs) if len(costs) == len(counts) else None))
    yield Finish("stop")


def _is_vector(value: object) -> bool:
    if not isinstance(value, Sequence) or isinstance(value, str | bytes) or not value:
        return False
    kinds = set(map(type, value))  # a call may bring millions of numbers
    try:
        return all(issubclass(kind, int | float) and kind is not bool for kind in kinds) and all(map(math.isfinite, value))
    except OverflowError:  # a whole number that no float can hold
        return False


def batches(provider: object, request: EmbeddingRequest) -> Iterator[EmbeddingRequest]:
    """Divide a request by the limits of a provider: `embedding_limit` texts, with `embedding_characters` in all at most."""
    limit, most = getattr(provider, "embedding_limit", LIMIT), getattr(provider, "embedding_characters", float("inf"))
    texts: list[str] = []
    for text in request.texts:
        if texts and (len(texts) >= limit or sum(map(len, texts)) + len(text) > most):
            yield attrs.evolve(request, texts=tuple(texts))
            texts = []
        texts.append(text)
    yield attrs.evolve(request, texts=tuple(texts))
