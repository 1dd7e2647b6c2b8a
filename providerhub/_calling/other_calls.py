"""Calls for vectors and for counts of tokens. The driver asks a stand-in in place of the provider."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, TypedDict, Unpack

import attrs

from providerhub._calling.intake import CallSpec, call_spec
from providerhub._calling.keywords import Knobs
from providerhub._calling.messages import Conversation
from providerhub._finding.needs import Needs
from providerhub._finding.registry import ModelSpec, Registry
from providerhub._settings.settings import Settings
from providerhub._values import Completion, Options, Request, RetryPolicy, Timeout, TokenCount, Usage
from providerhub._values.checks import COUNT, NAMES, Check
from providerhub._values.errors import CapabilityError, ConfigurationError, InvalidRequestError, PluginError, ProtocolError
from providerhub._values.events import Detail, Finish, UsageDelta
from providerhub._values.provider import CallContext, Piece
from providerhub._values.request import EmbeddingRequest, Embeddings

TEXTS = Check("a text, or a list of texts that are not empty", lambda value: isinstance(value, Sequence) and NAMES.test(value))
LIMIT = 100  # the maximum number of texts in one request to a provider without `embedding_limit`
_VECTORS, _COUNT = "vectors", "token_count"


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
    for name in knobs.keys() - EmbeddingKnobs.__annotations__.keys():
        raise TypeError(f"embed has no keyword {name!r}; it has dimensions, {', '.join(EmbeddingKnobs.__annotations__)}")
    texts = (texts,) if isinstance(texts, str) else texts
    TEXTS.check(texts, "texts", InvalidRequestError)
    if not texts:
        raise InvalidRequestError("texts is empty; pass at least one text")
    COUNT.or_none.check(dimensions, "dimensions", InvalidRequestError)
    messages = [{"role": "user", "content": text} for text in texts]
    spec = call_spec(settings, registry, model, messages, **knobs)
    asked = spec.request
    spec.request = EmbeddingRequest(asked.model, asked.messages, texts=tuple(texts), dimensions=dimensions)
    spec.needs, spec.asker, spec.cache = Needs(embeddings=True), _EMBEDDING, False
    return spec


def counting_spec(
    settings: Settings, registry: Registry, model: ModelSpec, messages: Conversation, /, **knobs: Unpack[Knobs]
) -> CallSpec:
    if "stream" in knobs:
        raise TypeError("count_tokens has no keyword 'stream': its result is one number; leave it out")
    spec = call_spec(settings, registry, model, messages, stream=False, **knobs)
    spec.asker, spec.counts, spec.cache, spec.output = _COUNTING, True, False, None
    return spec


def embeddings_of(answer: Completion) -> Embeddings:
    return Embeddings(_detail(answer, _VECTORS), answer.usage, answer.model, answer.provider, answer.route)


def count_of(answer: Completion) -> TokenCount:
    return TokenCount(_detail(answer, _COUNT), answer.model, answer.provider, answer.route)


def _detail(answer: Completion, name: str) -> Any:
    if name not in answer.details:
        what = "embeddings without vectors" if name == _VECTORS else "count_tokens without a count"
        raise ConfigurationError(f"a callable of around answered a call for {what}; let it return the result of go_on()")
    return answer.details[name]


How = tuple[Callable[[Any, Any], Iterable[Any]], Callable[[Any, object], Any], Callable[[list[Any]], Iterator[Piece]]]
"""Divides a request for a provider, checks the answer to a part, and makes pieces of all answers."""


class Asker:
    """A stand-in for a provider: a driver asks it like a provider, and it calls the provider's `method`."""

    def __init__(self, method: str, unable: Callable[[], CapabilityError], how: How, provider: Any) -> None:
        self._method, self._unable = method, unable
        self._parts, self._checked, self._pieces = how
        self._provider = provider
        self.astream = self._astream if callable(getattr(provider, f"a{method}", None)) else None

    def stream(self, request: Request, call: CallContext) -> Iterator[Piece]:
        ask = getattr(self._provider, self._method, None)
        if not callable(ask):
            raise self._unable()
        yield from self._pieces([self._checked(part, ask(part, call)) for part in self._parts(self._provider, request)])

    async def _astream(self, request: Request, call: CallContext) -> AsyncIterator[Piece]:
        ask = getattr(self._provider, f"a{self._method}")
        for piece in self._pieces([self._checked(part, await ask(part, call)) for part in self._parts(self._provider, request)]):
            yield piece


def _checked_vectors(request: EmbeddingRequest, answer: object) -> Embeddings:
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


def _pieces_of_vectors(answers: list[Embeddings]) -> Iterator[Piece]:
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
    kinds = set(map(type, value))  # there may be millions of numbers
    try:
        return all(issubclass(kind, int | float) and kind is not bool for kind in kinds) and all(map(math.isfinite, value))
    except OverflowError:  # a whole number that no float can hold
        return False


def batches(provider: object, request: EmbeddingRequest) -> Iterator[EmbeddingRequest]:
    """Split a request by the limits of a provider: at most `embedding_limit` texts and `embedding_characters` characters."""
    limit, most = getattr(provider, "embedding_limit", LIMIT), getattr(provider, "embedding_characters", float("inf"))
    texts: list[str] = []
    size = 0
    for text in request.texts:
        size += len(text)
        if texts and (len(texts) >= limit or size > most):
            yield attrs.evolve(request, texts=tuple(texts))
            texts, size = [], len(text)
        texts.append(text)
    yield attrs.evolve(request, texts=tuple(texts))


def _checked_count(_request: Request, count: object) -> int:
    if not isinstance(count, int) or isinstance(count, bool) or count < 0:
        raise PluginError(f"count_tokens() returned {count!r}; it must return a whole number, 0 or more")
    return count


def _pieces_of_count(counts: list[int]) -> Iterator[Piece]:
    yield from (Detail(_COUNT, counts[0]), UsageDelta(Usage(0, 0, cost=0.0)), Finish("stop"))


_NO_VECTORS = "the provider has no method embed(request, call)"
_NO_COUNT = "the provider cannot count tokens: it has no method count_tokens(request, call); name a model of another provider"
_EMBEDDING = partial(
    Asker,
    "embed",
    partial(CapabilityError, _NO_VECTORS, capability="embeddings"),
    (batches, _checked_vectors, _pieces_of_vectors),
)
_COUNTING = partial(
    Asker, "count_tokens", partial(CapabilityError, _NO_COUNT), (lambda _, request: (request,), _checked_count, _pieces_of_count)
)
