"""The vocabulary of checks: every rule for a single value, with the words that an error message uses for it.

A value class takes a check as the validator of a field, the settings file takes it for a key, and a call takes it for an
argument. So the same value is accepted or refused everywhere, and described in the same words.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:  # slow to import, and the command line's help reads this module
    import attrs

Test = Callable[[Any], bool]
Function = TypeVar("Function", bound=Callable[..., Any])


class Check:
    """One rule. It can be the `validator` of an attrs field, and then raises `ValueError`.

    Not a tuple: attrs would take a tuple for a list of validators.

    Args:
        wanted: The values that pass, as they stand after "must be" in a message: "a whole number".
        test: Returns whether a value passes. It accepts any object and does not raise.
        shown: Returns the text that stands for a refused value in the message; its `repr` by default.
    """

    __slots__ = ("shown", "test", "wanted")

    def __init__(self, wanted: str, test: Test, shown: Callable[[Any], str] = repr) -> None:
        self.wanted = wanted
        self.test = test
        self.shown = shown

    def __call__(self, _instance: object, field: attrs.Attribute[Any], value: object) -> None:
        if not self.test(value):  # most values pass, so the usual case needs no further call
            self.check(value, field.name)

    def check(self, value: object, name: str, error: type[Exception] = ValueError) -> None:
        """Raise an `error` if a value does not pass. `name`: the argument, field or key, for the message."""
        if not self.test(value):
            raise error(f"{name} must be {self.wanted}, not {self.shown(value)}")

    @property
    def or_none(self) -> Check:
        """The same check, which `None` passes too."""
        test = self.test
        return _OrNone(f"{self.wanted}, or None", lambda value: value is None or test(value), self.shown)


class _OrNone(Check):
    """A check that `None` passes at once: nearly all fields of a model have this value."""

    __slots__ = ()

    def __call__(self, _instance: object, field: attrs.Attribute[Any], value: object) -> None:
        if value is not None:
            self.check(value, field.name)


def _number(value: object) -> bool:
    # By comparison: `math.isfinite` raises on whole numbers of more than some 300 digits.
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def _text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def list_of(value: object, kind: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes) and all(isinstance(item, kind) for item in value)


def _tool(value: Mapping[str, Any]) -> bool:
    """Whether a mapping is a tool: in the nested or the flat OpenAI shape, or a vendor's own tool."""
    function = value.get("function", value if value.get("type") == "function" else None)
    if function is None:
        return isinstance(value.get("type"), str | None)
    return (
        isinstance(function, Mapping)
        and isinstance(value.get("type"), str | None)
        and _text(function.get("name"))
        and isinstance(function.get("description"), str | None)
        and isinstance(function.get("parameters"), Mapping | None)
    )


def _format(value: object) -> bool:
    """Whether a value has the OpenAI shape of `response_format`."""
    if not isinstance(value, Mapping) or not isinstance(value.get("type"), str):
        return False
    found = value.get("json_schema")
    return found is None or (
        isinstance(found, Mapping)
        and isinstance(found.get("name"), str | None)
        and isinstance(found.get("schema"), Mapping | None)
    )


def _reference(value: object) -> bool:
    return isinstance(value, str) and (not value or all(part.strip() for part in value.partition(":")))


def _header_name(name: object) -> bool:
    """Whether a name is a token (RFC 9110, section 5.6.2), and not a header that the client itself sets."""
    return (
        isinstance(name, str)
        and bool(name)
        and name.isascii()
        and all(c.isalnum() or c in "!#$%&'*+-.^_`|~" for c in name)
        and name.lower() not in _OF_THE_CLIENT
    )


_OF_THE_CLIENT = {"connection", "content-length", "expect", "host", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}
"""Headers that say where a request goes, where it ends and what becomes of its connection (RFC 9110 and RFC 9112)."""


def _header_value(text: object) -> bool:
    """Whether a text has no line break: a line break would begin another header."""
    return isinstance(text, str) and text.isascii() and (not text or text.isprintable())


def shape(value: object) -> str:
    """Return the type of a value, and the types of a mapping's items, without the values: a value may be a key."""
    if not isinstance(value, Mapping):
        return type(value).__name__
    return f"{{{', '.join(f'{name!r}: {type(item).__name__}' for name, item in value.items())}}}"


def at_least(least: int) -> Check:
    """A whole number from `least` up."""
    return Check(f"a whole number, {least} or more", lambda value: _whole(value) and value >= least)


def one_of(names: Sequence[str]) -> Check:
    """One of some words, in the order in which a message lists them."""
    return Check(f"one of {', '.join(names)}", lambda value: isinstance(value, str) and value in names)


def instance_of(kind: type | tuple[type, ...], wanted: str) -> Check:
    """An instance of a class, or of one of several. A message shows the type of a refused value, not the value."""
    return Check(wanted, lambda value: isinstance(value, kind), shape)


def mapping_to(kind: type, wanted: str) -> Check:
    """A mapping of names to instances of a class. A message shows the types of its values, not the values."""
    return Check(
        wanted,
        lambda value: (
            isinstance(value, Mapping) and all(isinstance(key, str) and isinstance(item, kind) for key, item in value.items())
        ),
        shape,
    )


NUMBER = Check("a finite number", _number)
NOT_NEGATIVE = Check("a finite number, zero or more", lambda value: _number(value) and value >= 0)
SECONDS = Check("a positive, finite number of seconds", lambda value: _number(value) and value > 0)
POSITIVE = Check("a positive, finite number", lambda value: _number(value) and value > 0)
TARIFFS = Check(
    "a mapping of tariffs to positive numbers, such as {'batch': 0.5}",
    lambda value: isinstance(value, Mapping) and all(map(_text, value)) and all(map(POSITIVE.test, value.values())),
)
SHARE = Check("a number from 0 to 1", lambda value: _number(value) and 0 <= value <= 1)
WHOLE = Check("a whole number", _whole)
COUNT = at_least(1)
FLAG = Check("true or false", lambda value: isinstance(value, bool))
TEXT = Check("a text that is not empty", lambda value: _text(value) and "\0" not in value)  # no path or variable holds a null
ANY_TEXT = instance_of(str, "a text")
TEXT_OR_TEXTS = Check("a text or a list of texts", lambda value: isinstance(value, str) or list_of(value, str))
CURRENCY = Check(
    'a currency\'s code of ISO 4217, such as "USD"',
    lambda value: isinstance(value, str) and len(value) == 3 and value.isascii() and value.isalpha() and value.isupper(),
)
ENTRY = Check(
    'an entry of a catalogue, "vendor/model", such as "openai/gpt-4o"',
    lambda value: isinstance(value, str) and all(part.strip() for part in value.partition("/")),
)
NAMES = Check(
    "a list of names",
    lambda value: isinstance(value, Collection) and not isinstance(value, str | bytes | Mapping) and all(map(_text, value)),
)
PROVIDER_NAME = Check(
    "a text that is not empty and holds no slash, since 'provider/model' is split at the first slash, and no control character",
    lambda value: _text(value) and "/" not in value and value.isprintable(),
)
REFERENCE = Check("'module:function', or empty", _reference)
MAPPING = mapping_to(object, "a mapping")
HEADERS = Check(
    "a mapping of header names to texts of visible ASCII characters, such as {'X-Title': 'my app'}, without the headers that the "
    f"client alone can set, since they frame the request ({', '.join(sorted(_OF_THE_CLIENT))})",
    lambda value: isinstance(value, Mapping) and all(_header_name(name) and _header_value(text) for name, text in value.items()),
    shape,
)
MAPPINGS = Check("a list of mappings", lambda value: list_of(value, Mapping))
TOOLS = Check(
    "a list of mappings such as {'type': 'function', 'function': {'name': 'weather', 'parameters': {…}}}",
    lambda value: list_of(value, Mapping) and all(map(_tool, value)),
)
OUTPUT_FORMAT = Check(
    "a mapping such as {'type': 'json_object'} or {'type': 'json_schema', 'json_schema': {'name': 'invoice', 'schema': {…}}}",
    _format,
)
CALLABLE = Check("a callable", callable, shown=lambda value: type(value).__name__)

ERROR_CLASSES = Check(
    "a tuple or list of exception classes",
    lambda value: isinstance(value, tuple) and all(isinstance(item, type) and issubclass(item, Exception) for item in value),
)

ELSEWHERE = {
    "max_completion_tokens": "max_tokens", "max_output_tokens": "max_tokens", "max_tokens_to_sample": "max_tokens",
    "stop_sequences": "stop", "functions": "tools", "function_call": "tool_choice", "instructions": "system",
    "system_prompt": "system", "prompt": "messages", "thinking": "reasoning", "num_retries": "retry",
    "reasoning_effort": "reasoning", "response_model": "response_format", "text_format": "response_format",
    "input": "texts", "base_url": "url", "api_base": "url", "endpoint": "url", "key": "api_key",
}  # fmt: skip
"""Keyword of another library → the argument of this library with the same meaning."""


def nearest(name: str, known: Collection[str], otherwise: str = "", *, cutoff: float = 0.6) -> str:
    """The most similar known name as a hint in a message; else `otherwise`. The `cutoff` is from 0 to 1, for equal names."""
    import difflib  # slow to import; only a message needs it

    near = difflib.get_close_matches(name, known, n=1, cutoff=cutoff)
    return f"did you mean {near[0]!r}?" if near else otherwise


def hinted(method: Function, name: str, more: Collection[str] = ()) -> Function:
    """Let the error of a call with wrong arguments suggest the right keywords.

    `name`: the method in the message. `more`: the names that the `**knobs` of the method accept.
    """
    from inspect import CO_VARKEYWORDS, iscoroutinefunction  # slow to import; attrs and the hub have imported it

    code = method.__code__
    own = code.co_varnames[1 : code.co_argcount + code.co_kwonlyargcount]  # without `self`
    known = {*own, *more} if code.co_flags & CO_VARKEYWORDS else {*own}

    def told(error: TypeError, named: Mapping[str, Any]) -> TypeError:
        said = str(error).partition("() ")[2].partition(". Did you mean")[0]  # newer versions of Python add a hint
        its = f"its own arguments are {', '.join(own)}"
        unknown = ((one, "" if repr(one) in said else f"{one!r}: ") for one in named if one not in known)
        hints = (f"; {label}{nearest(ELSEWHERE.get(one, one), known, its)}" for one, label in unknown)
        return TypeError(f"{name}() {said}{''.join(hints)}")

    called: Any
    if iscoroutinefunction(method):

        @wraps(method)
        async def called(*args: Any, **named: Any) -> Any:
            try:
                awaited = method(*args, **named)
            except TypeError as error:
                raise told(error, named) from None
            # With thousands of calls at once, the garbage collector would spend a tenth of their time on these arguments.
            del args, named
            return await awaited

    else:

        @wraps(method)
        def called(*args: Any, **named: Any) -> Any:
            try:
                return method(*args, **named)
            except TypeError as error:
                if error.__traceback__ is None or error.__traceback__.tb_next is not None:  # raised inside the method
                    raise
                raise told(error, named) from None

    return called  # type: ignore[no-any-return]
