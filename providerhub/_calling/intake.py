"""The arguments of a call: checked, and completed with the defaults of the settings."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Unpack

import attrs

from providerhub._calling.keywords import KEYWORDS, Knobs
from providerhub._calling.messages import Conversation, checked, has_turns
from providerhub._calling.output import Output, output_of
from providerhub._finding.needs import Needs, part_kinds, token_bound, token_ceiling, uses
from providerhub._finding.registry import ModelSpec, Registry
from providerhub._settings.settings import Settings
from providerhub._values import Candidate, EmbeddingRequest, Model, Options, Request, RetryPolicy, Timeout, Usage
from providerhub._values.checks import ELSEWHERE, FLAG, HEADERS, MAPPING, nearest
from providerhub._values.errors import InvalidRequestError, ProviderHubError

NOT_OPTIONS = {
    "api_key": "set the key of the provider in the settings, as in ProviderConfig(api_key=...)",
    "api_base": "set the url of the provider in the settings, as in ProviderConfig(url=...)",
    "base_url": "set the url of the provider in the settings, as in ProviderConfig(url=...)",
    "timeout": "use the keyword timeout of the call",
    "max_retries": "use the keyword retry of the call",
    "default_headers": "use extra_headers, or set the headers of the provider in the settings, as in ProviderConfig(headers=...)",
    "http_client": "set proxies and certificates of the provider in the settings",
    "ssl_verify": "set ca_bundle of the provider in the settings",
}
"""Arguments of other libraries that are not fields of a request → their place here."""

_NOT_KEYWORDS = NOT_OPTIONS | {
    "fallbacks": "name the models in order as the first argument, as in ['a', 'b']",
    "drop_params": "leave it out: the keywords in options['NAME'] go to the provider NAME alone",
    "mock_response": "pass a hub with a providerhub.testing.FakeProvider in place of the module",
}
"""Arguments of other libraries that are not keywords of a call → their place here. A gateway may take them in `options`."""

EXTRAS = {"extra_headers": HEADERS.or_none, "extra_query": MAPPING.or_none, "extra_body": MAPPING.or_none}
"""Options that add to the request outside its fields, as in the vendors' SDKs."""

CHOICES = ("auto", "none", "required", "any")
"""The words for `tool_choice`; `"any"` is the Messages API's word for `"required"`. Other texts name a tool."""

NOTHING_NEEDED = Needs()

EVERY_PROVIDER = "*"  # the key of options for every provider


@attrs.define(eq=False, repr=False)
class CallSpec:
    """One checked call. Not a tuple, since reading its fields would take longer: a call reads more than twenty."""

    model: ModelSpec
    request: Request  # its `model` is the caller's first name
    needs: Needs
    timeout: Timeout
    explicit_timeout: Timeout | None  # the phases that the caller gave
    retry: RetryPolicy
    strategy: str
    on_interrupt: str
    hedge: bool
    options: Mapping[str, Options]  # provider instance → its options; `"*"` → the options for every provider
    output: Output | None = None  # the class into which the answer is read
    has_turns: bool = False  # whether a message holds an assistant's turn in a vendor's own form
    metadata: Mapping[str, Any] | None = None  # for hooks; no provider gets it
    cache: bool | None = None  # whether a cache may answer; `None` leaves it to the cache
    asker: Callable[[Any], Any] | None = None  # makes the object that asks a provider for vectors or a count
    counts: bool = False  # whether the provider only counts the tokens of the request, which is free and has no limit

    @property
    def continues(self) -> bool:
        """Whether a broken stream is carried on from its partial text."""
        return self.on_interrupt == "continue"

    def tokens(self) -> tuple[int, int | None]:
        """An estimate of the input tokens, and the maximum output tokens; `None` when unknown."""
        return (0, 0) if self.counts else (token_bound(self.request.messages, self.request.tools), self.request.max_tokens)

    def most_tokens(self, candidate: Candidate) -> Usage:
        """An upper estimate of the tokens that an attempt at a candidate may use; `None` for an unknown number."""
        request = self.request
        if self.counts:
            return Usage(0, 0)
        most = token_ceiling(request.messages, request.tools or ()) + token_ceiling((), (request.response_format or {},))
        return Usage(most, 0 if isinstance(request, EmbeddingRequest) else request.max_tokens or candidate.max_output)

    def longest(self) -> tuple[int, int | None]:
        """As `tokens`, for the part that must fit into the model's window: the whole conversation, or the longest text."""
        if isinstance(self.request, EmbeddingRequest):
            return max(token_bound([one]) for one in self.request.messages), None
        return self.tokens()

    def uses(self, provider: str, capability: str) -> bool:
        """Whether the request uses a capability that the service of a provider denied."""
        return uses(self.request, self.options_for(provider), capability)

    def options_for(self, provider: str) -> Options:
        """The vendor-specific keywords for a provider: its own, and, with lower precedence, those for every provider."""
        every, own = self.options.get(EVERY_PROVIDER), self.options.get(provider)
        if not every or not own:
            return own or every or {}
        both = {name: {**every[name], **own[name]} for name in EXTRAS if every.get(name) and own.get(name)}
        return {**every, **own, **both}


def call_spec(
    settings: Settings,
    registry: Registry,
    model: ModelSpec,
    messages: Conversation,
    /,
    *,
    stream: bool = False,
    **knobs: Unpack[Knobs],
) -> CallSpec:
    """Check every argument of `Hub.complete`. Raises `InvalidRequestError`, and `TypeError` for an unknown keyword."""
    conversation = checked(messages)
    if stream is not True and stream is not False:
        FLAG.check(stream, "stream", InvalidRequestError)  # type: ignore[unreachable]
    sent, steers = _parted(knobs, lambda: _example(model, registry)) if knobs else ({}, {})
    if system := steers.pop("system", None):
        conversation = ({"role": "system", "content": system}, *conversation)
    output = None
    if sent:
        output = _normalize(sent)
        request = Request(_first(model), conversation, stream, **sent)
    else:
        request = Request(_first(model), conversation, stream)
    form = request.response_format.get("type") if request.response_format else None
    kinds = part_kinds(conversation)
    emulates = steers.pop("emulate_stream", settings.emulate_stream)
    streams = stream and not emulates
    needs = NOTHING_NEEDED
    if streams or kinds or form or request.tools:
        needs = Needs(
            stream=streams, tools=bool(request.tools), images="image_url" in kinds, json_schema=form == "json_schema",
            audio="input_audio" in kinds, files="file" in kinds,
        )  # fmt: skip
    spec = CallSpec(
        model, request, needs, settings.timeout, None, settings.retry, settings.strategy, settings.on_interrupt, settings.hedge,
        {}, output, has_turns(conversation),
    )  # fmt: skip
    if steers:
        _steer(spec, steers, registry)
    if spec.on_interrupt == "continue" and (request.tools or form in {"json_object", "json_schema"}):
        msg = "on_interrupt='continue' cannot be used with tools or JSON output: use 'restart' or 'raise'"
        raise InvalidRequestError(msg)
    return spec


def _steer(spec: CallSpec, steers: dict[str, Any], registry: Registry) -> None:
    """Replace the settings' defaults by the keywords that control the call."""
    timeout = steers.pop("timeout", None)
    if isinstance(timeout, Timeout):
        spec.timeout = spec.explicit_timeout = timeout
    elif timeout is not None:
        spec.timeout = attrs.evolve(spec.timeout, total=timeout)
    for name, value in steers.items():
        setattr(spec, name, value)
    _check_options(spec.options, registry)


def _parted(knobs: Mapping[str, Any], example: Callable[[], str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Check the keywords, and separate the provider's from the call's. `example` returns a provider's name for errors."""
    sent: dict[str, Any] = {}
    steers: dict[str, Any] = {}
    for name, value in knobs.items():
        keyword = KEYWORDS.get(name)
        if keyword is None:
            raise _unknown(name, example())
        if value is not None:
            keyword.check.check(value, name, InvalidRequestError)
            (sent if keyword.sent else steers)[name] = value
    return sent, steers


def _check_options(options: Mapping[str, Options], registry: Registry) -> None:
    for provider, own in options.items():
        if provider != EVERY_PROVIDER and not registry.knows(provider):
            known = ", ".join(registry.names()) or "none"
            where = "options are keyed by provider, as in {'acme': {...}}, or by '*' for all of them"
            raise InvalidRequestError(f"{where}, and {provider!r} is not one; providers: {known}")
        for name in NOT_OPTIONS.keys() & own.keys():
            msg = f"options[{provider!r}][{name!r}] would become a field of the request's body; {NOT_OPTIONS[name]}"
            raise InvalidRequestError(msg)
        for name, check in EXTRAS.items():
            check.check(own.get(name), f"options[{provider!r}][{name!r}]", InvalidRequestError)


def _example(model: ModelSpec, registry: Registry) -> str:
    with contextlib.suppress(ProviderHubError):
        target = registry.target(registry.entries(model)[0].name)
        matches = registry.find(target) if target.provider is None else ()
        return target.provider or min((match.provider for match in matches), default="acme")
    return "acme"


def _unknown(name: str, provider: str) -> TypeError:
    if name in _NOT_KEYWORDS:
        return TypeError(f"unknown keyword argument {name!r}; {_NOT_KEYWORDS[name]}")
    near = nearest(ELSEWHERE.get(name, name), ("stream", "messages", *KEYWORDS), cutoff=0.7)
    hint = f"{near} A vendor's" if near else "a vendor's"
    place = f"options={{{provider!r}: {{{name!r}: ...}}}}"
    return TypeError(f"unknown keyword argument {name!r}; {hint} own keywords go into options, as in {place}")


def _normalize(sent: dict[str, Any]) -> Output | None:
    """Convert the provider's keywords to the form that plugins read, and return the class of the answer."""
    stop, form, choice = sent.get("stop"), sent.get("response_format"), sent.get("tool_choice")
    if sent.get("tools"):
        sent["tools"] = [*map(_in_chat_shape, sent["tools"])]
    if isinstance(stop, str):
        sent["stop"] = (stop,)
    if choice is not None:
        sent["tool_choice"] = _choice(choice, sent.get("tools") or ())
    if form is None or isinstance(form, Mapping):
        return None
    output = output_of(form)
    sent["response_format"] = output.form
    return output


def _in_chat_shape(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    """A tool in the OpenAI chat shape; the flat forms of the Messages API and of the Responses API are translated."""
    schema = tool.get("input_schema", tool.get("parameters"))
    is_flat = tool.get("type") == "function" or ("input_schema" in tool and tool.get("type") in {None, "custom"})
    if "function" in tool or not is_flat:
        return tool
    moved = {name: tool[name] for name in ("name", "description", "strict") if name in tool}
    rest = {name: value for name, value in tool.items() if name not in {*moved, "input_schema", "parameters"}}
    return {**rest, "type": "function", "function": {**moved, **({} if schema is None else {"parameters": schema})}}


def _choice(choice: str | Mapping[str, Any], tools: Sequence[Mapping[str, Any]]) -> str | Mapping[str, Any]:
    """The choice of a tool in the OpenAI shape; the plain forms of the Messages API and of the Responses API are translated."""
    if isinstance(choice, str):
        if choice in CHOICES:
            return choice
        if named := _named(choice, tools):
            return named
        known = [*CHOICES, *(str(form["name"]) for _, form in map(_form, tools) if form.get("name"))]
        hint = nearest(choice, known, f"it may be {', '.join(map(repr, known))}")
        raise InvalidRequestError(f"tool_choice {choice!r} is not one of this call's tools; {hint}")
    kind, name = choice.get("type"), choice.get("name")
    if choice.keys() == {"type"} and kind in CHOICES:
        return str(kind)
    if choice.keys() == {"type", "name"} and kind in {"tool", "function", "custom"}:
        return _named(name, tools) or choice
    return choice


def _named(name: Any, tools: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    for kind, form in map(_form, tools):
        if form.get("name") == name:
            return {"type": kind, kind: {"name": name}} if kind in {"function", "custom"} else {"type": "tool", "name": name}
    return None


def _form(tool: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    return str(tool.get("type")), tool.get("function") or tool.get("custom") or tool


def _first(model: ModelSpec) -> str:
    if isinstance(model, str):
        return model
    if isinstance(model, Model):
        return model.name
    return str(model[0]) if isinstance(model, Sequence) and model else ""
