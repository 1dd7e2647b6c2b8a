"""What a caller passes to a call → checked, with the settings' defaults filled in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypedDict

import attrs

from providerhub._calling.messages import checked
from providerhub._finding.needs import Needs, has_images
from providerhub._finding.registry import Registry
from providerhub._settings.settings import ON_INTERRUPT, Settings
from providerhub._values import Message, Model, Options, Request, RetryPolicy, Timeout
from providerhub._values.errors import InvalidRequestError
from providerhub._values.value import is_number

ModelSpec = str | Model | Sequence[str | Model]
"""What may stand for a model: a name, `"provider/name"`, a `Model`, or a sequence of these, tried in order."""


class Knobs(TypedDict, total=False):
    """The keywords of `complete` beyond `stream`; each is described at `Hub.complete`. `None` is the same as not given."""

    temperature: float | None
    max_tokens: int | None
    stop: str | Sequence[str] | None
    tools: Sequence[Mapping[str, Any]] | None
    tool_choice: str | Mapping[str, Any] | None
    response_format: Mapping[str, Any] | None
    seed: int | None
    timeout: float | Timeout | None
    retry: RetryPolicy | None
    strategy: str | None
    on_interrupt: Literal["raise", "restart", "continue"] | None
    hedge: bool | None
    emulate_stream: bool | None
    options: Mapping[str, Options] | None


class Ask(NamedTuple):
    """One call as it was asked for, checked.

    Args:
        model: What stands for the model.
        request: What is asked; its model is the first name that was given.
        needs: The capabilities that it needs.
        timeout: The phases.
        retry: How far to go.
        strategy: How equal candidates are ordered.
        on_interrupt: What happens when a stream breaks after content.
        hedge: Whether a slow attempt may get a second one beside it.
        options: Vendor-specific keywords by provider instance.
    """

    model: ModelSpec
    request: Request
    needs: Needs
    timeout: Timeout
    retry: RetryPolicy
    strategy: str
    on_interrupt: str
    hedge: bool
    options: Mapping[str, Options]


def ask(
    settings: Settings,
    registry: Registry,
    model: ModelSpec,
    messages: str | Sequence[Message],
    *,
    stream: bool = False,
    temperature: float | None = None,
    max_tokens: int | None = None,
    stop: str | Sequence[str] | None = None,
    tools: Sequence[Mapping[str, Any]] | None = None,
    tool_choice: str | Mapping[str, Any] | None = None,
    response_format: Mapping[str, Any] | None = None,
    seed: int | None = None,
    timeout: float | Timeout | None = None,
    retry: RetryPolicy | None = None,
    strategy: str | None = None,
    on_interrupt: str | None = None,
    hedge: bool | None = None,
    emulate_stream: bool | None = None,
    options: Mapping[str, Options] | None = None,
) -> Ask:
    """Check everything that can be checked before a plan is made.

    Args:
        settings: The defaults.
        registry: Knows the providers that `options` may name.
        model: This and all others are described at `Hub.complete`.
        messages: The same.
        stream: The same.
        temperature: The same.
        max_tokens: The same.
        stop: The same.
        tools: The same.
        tool_choice: The same.
        response_format: The same.
        seed: The same.
        timeout: The same.
        retry: The same.
        strategy: The same.
        on_interrupt: The same.
        hedge: The same.
        emulate_stream: The same.
        options: The same.

    Raises:
        InvalidRequestError: Something is wrong; the message names the argument and says what it may be.
    """
    conversation = checked(messages)
    if stream is not True and stream is not False:
        _check(stream, "stream", "True or False", _is(bool))  # type: ignore[unreachable]
    request = Request(
        _first(model), conversation, stream, temperature, max_tokens, (stop,) if isinstance(stop, str) else stop, tools,
        tool_choice, response_format, seed,
    )  # fmt: skip
    if (temperature, max_tokens, stop, tools, tool_choice, response_format, seed) != _NOTHING:
        _check_request(request)
    form = response_format.get("type") if response_format else None
    on_interrupt = settings.on_interrupt if on_interrupt is None else on_interrupt
    if on_interrupt != "raise":
        _check_interrupt(on_interrupt, continuable=not tools and form not in {"json_object", "json_schema"})
    if retry is not None:
        _check(retry, "retry", "a RetryPolicy, such as RetryPolicy(attempts=2)", _is(RetryPolicy))
    if hedge is not None:
        _check(hedge, "hedge", "True or False", _is(bool))
    if options:
        _check_options(options, registry)
    elif options is not None:
        _check(options, "options", _OPTIONS, _is(Mapping))
    emulate = settings.emulate_stream if emulate_stream is None else emulate_stream
    return Ask(
        model,
        request,
        Needs(stream and not emulate, bool(tools), has_images(conversation), form == "json_schema", on_interrupt == "continue"),
        settings.timeout if timeout is None else _timeout(timeout, settings),
        retry or settings.retry,
        settings.strategy if strategy is None else strategy,
        on_interrupt,
        settings.hedge if hedge is None else hedge,
        options or {},
    )


def refuse_unknown(knobs: Mapping[str, Any]) -> None:
    """Name the keyword that nobody knows, and what may be meant.

    Args:
        knobs: The keywords that a call was given.

    Raises:
        TypeError: There is one, as for any function.
    """
    for name in knobs.keys() - Knobs.__annotations__.keys():
        msg = f"unknown keyword argument {name!r}; the known ones are {', '.join(('stream', *Knobs.__annotations__))}"
        raise TypeError(msg)


_Test = Callable[[Any], bool]
_OPTIONS = "a mapping keyed by provider, as in {'acme': {...}}"


def _is(*kinds: type) -> _Test:
    return lambda value: isinstance(value, kinds)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _typed(value: Mapping[str, Any]) -> bool:
    return isinstance(value.get("type"), str)


def _list_of(kind: type) -> _Test:
    return lambda value: (
        isinstance(value, Sequence) and not isinstance(value, str | bytes) and all(isinstance(item, kind) for item in value)
    )


_NOTHING = (None,) * 7

_REQUEST: tuple[tuple[str, str, _Test], ...] = (
    ("temperature", "a finite number", is_number),
    ("max_tokens", "a whole number, 1 or more", lambda value: _whole(value) and value >= 1),
    ("stop", "a text or a list of texts", _list_of(str)),
    ("tools", "a list of tool definitions, each a mapping", _list_of(Mapping)),
    ("tool_choice", "'auto', 'none', 'required', or a mapping that names one tool", _is(str, Mapping)),
    ("response_format", "a mapping such as {'type': 'json_object'}", lambda value: _is(Mapping)(value) and _typed(value)),
    ("seed", "a whole number", _whole),
)
"""Field of a request, what it may be, and how that is told."""


def _check(value: Any, name: str, wanted: str, test: _Test) -> None:
    if not test(value):
        msg = f"{name} must be {wanted}, not {value!r}"
        raise InvalidRequestError(msg)


def _check_request(request: Request) -> None:
    for name, wanted, test in _REQUEST:
        value = getattr(request, name)
        if value is not None:
            _check(value, name, wanted, test)


def _check_interrupt(on_interrupt: str, *, continuable: bool) -> None:
    if on_interrupt not in ON_INTERRUPT:
        msg = f"on_interrupt must be one of {', '.join(ON_INTERRUPT)}, not {on_interrupt!r}"
        raise InvalidRequestError(msg)
    if on_interrupt == "continue" and not continuable:
        msg = "on_interrupt='continue' cannot be used with tools or JSON output: a partial one cannot be carried on safely"
        raise InvalidRequestError(msg)


def _check_options(options: Mapping[str, Options], registry: Registry) -> None:
    _check(options, "options", _OPTIONS, _is(Mapping))
    for name, value in options.items():
        if not registry.knows(name) or not isinstance(value, Mapping):
            known = ", ".join(registry.names()) or "none"
            msg = f"options are keyed by provider, as in {{'acme': {{...}}}}, not {name!r}: {value!r}; providers: {known}"
            raise InvalidRequestError(msg)


def _timeout(given: float | Timeout, settings: Settings) -> Timeout:
    if isinstance(given, Timeout):
        return given
    if not is_number(given) or given <= 0:
        msg = f"timeout must be a positive, finite number of seconds or a Timeout, not {given!r}"
        raise InvalidRequestError(msg)
    return attrs.evolve(settings.timeout, total=given)


def _first(model: ModelSpec) -> str:
    """The name that a request bears until a candidate is chosen."""
    if isinstance(model, str):
        return model
    if isinstance(model, Model):
        return model.name
    return str(model[0]) if isinstance(model, Sequence) and model else ""
