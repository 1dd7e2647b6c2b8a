"""The keywords of `complete`, one entry each: name, type, check, description, and the use of the value.

The check of a call's arguments, the keys of a batch file, the options of the command line, the `Args:` of `complete`, and the
reference derive from this table. If the provider gets the value of a keyword, the keyword is also a field of `Request`.
"""

# The annotations are the table and must be evaluated, so there is no `from __future__ import annotations`.

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple, TypedDict

from providerhub._calling.output import ResponseFormat, has_schema
from providerhub._values import Options, RetryPolicy, Timeout
from providerhub._values.checks import (
    ANY_TEXT,
    COUNT,
    FLAG,
    MAPPING,
    NUMBER,
    OUTPUT_FORMAT,
    SECONDS,
    TEXT_OR_TEXTS,
    TOOLS,
    WHOLE,
    Check,
    Function,
    at_least,
    hinted,
    instance_of,
    one_of,
)
from providerhub._values.knobs import ON_INTERRUPT, STRATEGIES

REASONING = Check(
    "one of none, minimal, low, medium, high, or a number of tokens, 1 or more",
    lambda value: value in {"none", "minimal", "low", "medium", "high"} if isinstance(value, str) else COUNT.test(value),
)

_SECONDS_OR_TIMEOUT = Check(f"{SECONDS.wanted} or a Timeout", lambda value: isinstance(value, Timeout) or SECONDS.test(value))


class Keyword(NamedTuple):
    """The check, description and use of one keyword. The value `None` means that the keyword is not given."""

    check: Check
    text: str  # one or more lines of an `Args:` entry
    sent: bool = False  # whether the value goes to the provider, as a field of `Request`; otherwise it controls the call
    option: type | None = None  # the type of the command line's option; `None` for no option


class Knobs(TypedDict, total=False):
    """The keywords of `complete`, except `stream`. `None` means that the keyword is not given."""

    temperature: Annotated[
        float | None, Keyword(NUMBER, "Randomness of the sampling, in the vendor's own range.", sent=True, option=float)
    ]
    max_tokens: Annotated[
        int | None,
        Keyword(
            at_least(0),
            "The maximum number of tokens of the answer. 0 is sent unchanged: for some services it means no limit.",
            sent=True,
            option=int,
        ),
    ]
    stop: Annotated[str | Sequence[str] | None, Keyword(TEXT_OR_TEXTS, "A text or texts at which the model stops.", sent=True)]
    tools: Annotated[
        Sequence[Mapping[str, Any]] | None,
        Keyword(TOOLS, "Tool definitions in the OpenAI shape; flat ones are translated.", sent=True),
    ]
    tool_choice: Annotated[
        str | Mapping[str, Any] | None,
        Keyword(
            instance_of((str, Mapping), "'auto', 'none', 'required', or the name of one of the tools"),
            '`"auto"`, `"none"`, `"required"`, the name of one of `tools`, or a mapping in the OpenAI shape.',
            sent=True,
        ),
    ]
    response_format: Annotated[
        ResponseFormat | None,
        Keyword(
            Check(
                f"{OUTPUT_FORMAT.wanted}, or a dataclass, attrs class, TypedDict, Struct or pydantic model",
                lambda value: OUTPUT_FORMAT.test(value) or has_schema(value),
            ),
            """`{"type": "json_object"}` or `{"type": "json_schema", ...}`, the OpenAI shape. Or a class (dataclass, attrs class,
            TypedDict, msgspec.Struct, pydantic model): its JSON schema is sent, and `Completion.parsed` is an instance of it.""",
            sent=True,
        ),
    ]
    seed: Annotated[int | None, Keyword(WHOLE, "Asks the vendor for repeatable sampling.", sent=True, option=int)]
    reasoning: Annotated[
        str | int | None,
        Keyword(
            REASONING,
            """How much the model thinks before it answers: `"none"`, `"minimal"`, `"low"`, `"medium"`, `"high"`, or a number of
            tokens. With this keyword, a long silence before the answer is not a fault.""",
            sent=True,
        ),
    ]
    top_p: Annotated[
        float | None,
        Keyword(
            NUMBER, "The model chooses among the likeliest tokens, up to this sum of probabilities.", sent=True, option=float
        ),
    ]
    parallel_tool_calls: Annotated[bool | None, Keyword(FLAG, "Whether one answer may have several tool calls.", sent=True)]
    system: Annotated[str | None, Keyword(ANY_TEXT, "The system message, placed before `messages`.", option=str)]
    timeout: Annotated[
        float | Timeout | None,
        Keyword(
            _SECONDS_OR_TIMEOUT,
            "Seconds for the whole call, or a `Timeout` with each phase. Default: `timeout` of the settings.",
            option=float,
        ),
    ]
    retry: Annotated[
        RetryPolicy | None,
        Keyword(
            instance_of(RetryPolicy, "a RetryPolicy, such as RetryPolicy(attempts=2)"),
            "Attempts, waits and hedging of this call. Default: `retry` of the settings.",
        ),
    ]
    strategy: Annotated[
        str | None,
        Keyword(
            one_of(STRATEGIES),
            f"The order of equal candidates: {', '.join(map(repr, STRATEGIES))}. Default: `strategy` of the settings.",
        ),
    ]
    on_interrupt: Annotated[
        Literal["raise", "restart", "continue"] | None,
        Keyword(
            one_of(ON_INTERRUPT),
            """The reaction when a stream breaks after its first content: `"raise"`; `"restart"` at the next candidate, shown as
            `Restarted` by `Stream.events()` (a reader of plain text gets the error, since text cannot show the restart); or
            `"continue"` from the partial text, at models that declare `supports_prefill`. Default: `on_interrupt` of the
            settings.""",
        ),
    ]
    hedge: Annotated[
        bool | None,
        Keyword(
            FLAG,
            """Whether to ask a second provider when the first is slower than 95% of its model's past answers. The first
            attempt with content wins, and the other attempt is cancelled. The second attempt costs a token of its provider's
            retry budget, and both answers may cost money.""",
        ),
    ]
    emulate_stream: Annotated[bool | None, Keyword(FLAG, "Whether a model that cannot stream may answer in one piece.")]
    cache: Annotated[
        bool | None,
        Keyword(FLAG, "Whether a cache may answer, if a cache is switched on. Default: true."),
    ]
    metadata: Annotated[
        Mapping[str, Any] | None,
        Keyword(
            MAPPING,
            """Your own data about the call, such as `{"user": "u1", "team": "search"}`: names, and JSON values.
            Observers and budgets get the data; providers never do.""",
        ),
    ]
    options: Annotated[
        Mapping[str, Options] | None,
        Keyword(
            Check(
                "a mapping of mappings, keyed by provider, as in {'acme': {...}}",
                lambda value: isinstance(value, Mapping) and all(isinstance(part, Mapping) for part in value.values()),
            ),
            """Vendor-specific keywords by provider: `{provider: {name: value}}`. A provider gets its own options and
            those under `"*"`.
            `extra_headers`, `extra_query` and `extra_body` add to the headers, the query of the address and the body.""",
        ),
    ]


KEYWORDS: Mapping[str, Keyword] = {name: hint.__metadata__[0] for name, hint in Knobs.__annotations__.items()}
"""Every keyword by name, in the order of the documentation."""


def documented(function: Function) -> Function:
    """Replace `**knobs` in a docstring by the keywords' descriptions, for `help()`; and add hints to errors of wrong keywords."""
    before, mark, behind = (function.__doc__ or "").partition("**knobs: Each keyword")
    if mark:  # Python may run without docstrings
        indent = before[before.rindex("\n") + 1 :]
        lines = {name: map(str.strip, keyword.text.splitlines()) for name, keyword in KEYWORDS.items()}
        entries = f"\n{indent}".join(f"{name}: {f'{chr(10)}{indent}    '.join(text)}" for name, text in lines.items())
        function.__doc__ = f"{before}{entries}\n{behind.partition(chr(10))[2]}"
    return hinted(function, function.__name__, KEYWORDS)


def as_awaited(method: Callable[..., Any]) -> Callable[[Function], Function]:
    """Complete the docstring of an asynchronous method with the arguments, result and errors of the synchronous method."""
    _, mark, rest = (method.__doc__ or "").partition("Args:")

    def completed(function: Function) -> Function:
        if mark:
            described = rest.replace("a `Stream`", "an `AsyncStream`")
            function.__doc__ = f"{(function.__doc__ or '').rstrip()}\n\n        Args:{described}"
        return hinted(function, function.__name__, KEYWORDS)

    return completed
