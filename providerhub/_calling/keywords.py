"""The keywords of `complete`, one entry each: name, type, check, description, and the use of the value.

The check of a call's arguments, the keys of a batch file, the options of the command line, the `Args:` of `complete`, and the
reference derive from this table. If the provider gets the value of a keyword, the keyword is also a field of `Request`.
"""

# The annotations are the table and must be evaluated, so there is no `from __future__ import annotations`.

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple, TypedDict

from providerhub._calling.output import ResponseFormat, has_schema
from providerhub._values import Options, RetryPolicy, Timeout, checks
from providerhub._values.checks import FLAG, NUMBER, SECONDS, Check
from providerhub._values.knobs import ON_INTERRUPT, STRATEGIES

REASONING = Check(
    "one of none, minimal, low, medium, high, or a number of tokens, 1 or more",
    lambda value: value in {"none", "minimal", "low", "medium", "high"} if isinstance(value, str) else checks.COUNT.test(value),
)
_TOOL_CHOICE = checks.instance_of((str, Mapping), "'auto', 'none', 'required', or the name of one of the tools")
_FORM = Check(
    f"{checks.OUTPUT_FORMAT.wanted}, or a dataclass, attrs class, TypedDict, Struct or pydantic model",
    lambda value: checks.OUTPUT_FORMAT.test(value) or has_schema(value),
)
_SECONDS_OR_TIMEOUT = Check(f"{SECONDS.wanted} or a Timeout", lambda value: isinstance(value, Timeout) or SECONDS.test(value))
_RETRY = checks.instance_of(RetryPolicy, "a RetryPolicy, such as RetryPolicy(attempts=2)")
_OPTIONS = Check(
    "a mapping of mappings, keyed by provider, as in {'acme': {...}}",
    lambda value: isinstance(value, Mapping) and all(isinstance(part, Mapping) for part in value.values()),
)
SENT = True


class Keyword(NamedTuple):
    """The check, description and use of one keyword. The value `None` means that the keyword is not given."""

    check: Check
    text: str  # one or more lines of an `Args:` entry
    sent: bool = False  # whether the value goes to the provider, as a field of `Request`; otherwise it controls the call
    option: type | None = None  # the type of the command line's option; `None` for no option


class Knobs(TypedDict, total=False):
    """The keywords of `complete`, except `stream`. `None` is the same as not given. A `Keyword`'s fields follow each type."""

    temperature: Annotated[float | None, NUMBER, "Randomness of the sampling, in the vendor's own range.", SENT, float]
    max_tokens: Annotated[
        int | None, checks.at_least(0),
        "The maximum number of tokens of the answer. 0 is sent unchanged: for some services it means no limit.", SENT, int,
    ]  # fmt: skip
    stop: Annotated[str | Sequence[str] | None, checks.TEXT_OR_TEXTS, "A text or texts at which the model stops.", SENT]
    tools: Annotated[
        Sequence[Mapping[str, Any]] | None, checks.TOOLS, "Tool definitions in the OpenAI shape; flat ones are translated.", SENT
    ]
    tool_choice: Annotated[
        str | Mapping[str, Any] | None, _TOOL_CHOICE,
        '`"auto"`, `"none"`, `"required"`, the name of one of `tools`, or a mapping in the OpenAI shape.', SENT,
    ]  # fmt: skip
    response_format: Annotated[
        ResponseFormat | None, _FORM,
        """`{"type": "json_object"}` or `{"type": "json_schema", ...}`, the OpenAI shape. Or a class (dataclass, attrs class,
        TypedDict, msgspec.Struct, pydantic model): its JSON schema is sent, and `Completion.parsed` is an instance of it.""",
        SENT,
    ]  # fmt: skip
    seed: Annotated[int | None, checks.WHOLE, "Asks the vendor for repeatable sampling.", SENT, int]
    reasoning: Annotated[
        str | int | None, REASONING,
        """How much the model thinks before it answers: `"none"`, `"minimal"`, `"low"`, `"medium"`, `"high"`, or a number of
        tokens. With this keyword, a long silence before the answer is not a fault.""", SENT,
    ]  # fmt: skip
    top_p: Annotated[
        float | None, NUMBER, "The model chooses among the likeliest tokens, up to this sum of probabilities.", SENT, float
    ]
    parallel_tool_calls: Annotated[bool | None, FLAG, "Whether one answer may have several tool calls.", SENT]
    system: Annotated[str | None, checks.ANY_TEXT, "The system message, placed before `messages`.", not SENT, str]
    timeout: Annotated[
        float | Timeout | None, _SECONDS_OR_TIMEOUT,
        "Seconds for the whole call, or a `Timeout` with each phase. Default: `timeout` of the settings.", not SENT, float,
    ]  # fmt: skip
    retry: Annotated[RetryPolicy | None, _RETRY, "Attempts, waits and hedging of this call. Default: `retry` of the settings."]
    strategy: Annotated[
        str | None, checks.one_of(STRATEGIES),
        f"The order of equal candidates: {', '.join(map(repr, STRATEGIES))}. Default: `strategy` of the settings.",
    ]  # fmt: skip
    on_interrupt: Annotated[
        Literal["raise", "restart", "continue"] | None, checks.one_of(ON_INTERRUPT),
        """The reaction when a stream breaks after its first content: `"raise"`; `"restart"` at the next candidate, shown as
        `Restarted` by `Stream.events()` (a reader of plain text gets the error, since text cannot show the restart); or
        `"continue"` from the partial text, at models that declare `supports_prefill`. Default: `on_interrupt` of the
        settings.""",
    ]  # fmt: skip
    hedge: Annotated[
        bool | None, FLAG,
        """Whether to ask a second provider when the first is slower than 95% of its model's past answers. The first
        attempt with content wins, and the other attempt is cancelled. The second attempt costs a token of its provider's
        retry budget, and both answers may cost money.""",
    ]  # fmt: skip
    emulate_stream: Annotated[bool | None, FLAG, "Whether a model that cannot stream may answer in one piece."]
    cache: Annotated[bool | None, FLAG, "Whether a cache may answer, if a cache is switched on. Default: true."]
    metadata: Annotated[
        Mapping[str, Any] | None, checks.MAPPING,
        """Your own data about the call, such as `{"user": "u1", "team": "search"}`: names, and JSON values.
        Observers and budgets get the data; providers never do.""",
    ]  # fmt: skip
    options: Annotated[
        Mapping[str, Options] | None, _OPTIONS,
        """Vendor-specific keywords by provider: `{provider: {name: value}}`. A provider gets its own options and
        those under `"*"`.
        `extra_headers`, `extra_query` and `extra_body` add to the headers, the query of the address and the body.""",
    ]  # fmt: skip


KEYWORDS: Mapping[str, Keyword] = {name: Keyword(*hint.__metadata__) for name, hint in Knobs.__annotations__.items()}
"""Every keyword by name, in the order of the documentation."""


def documented(function: checks.Function) -> checks.Function:
    """Replace `**knobs` in a docstring by the keywords' descriptions, for `help()`; and add hints to errors of wrong keywords."""
    before, mark, behind = (function.__doc__ or "").partition("**knobs: Each keyword")
    if mark:  # Python may run without docstrings
        indent = before[before.rindex("\n") + 1 :]
        lines = {name: map(str.strip, keyword.text.splitlines()) for name, keyword in KEYWORDS.items()}
        entries = f"\n{indent}".join(f"{name}: {f'{chr(10)}{indent}    '.join(text)}" for name, text in lines.items())
        function.__doc__ = f"{before}{entries}\n{behind.partition(chr(10))[2]}"
    return checks.hinted(function, function.__name__, KEYWORDS)


def as_awaited(method: Callable[..., Any]) -> Callable[[checks.Function], checks.Function]:
    """Complete the docstring of an asynchronous method with the arguments, result and errors of the synchronous method."""
    _, mark, rest = (method.__doc__ or "").partition("Args:")

    def completed(function: checks.Function) -> checks.Function:
        if mark:
            described = rest.replace("a `Stream`", "an `AsyncStream`")
            function.__doc__ = f"{(function.__doc__ or '').rstrip()}\n\n        Args:{described}"
        return checks.hinted(function, function.__name__, KEYWORDS)

    return completed
