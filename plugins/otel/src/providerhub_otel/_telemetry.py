"""The observer that makes spans, metrics and events of calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from opentelemetry import metrics, trace
from opentelemetry._logs import LogRecord, SeverityNumber, get_logger
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, set_span_in_context

from providerhub import Attempt, CallRecord, ConfigurationError, Settings, Usage, hookimpl
from providerhub_otel import _content
from providerhub_otel._names import PROVIDERS, SECONDS, TOKENS, chosen, content

_SCOPE = "providerhub"
_REQUEST = {
    "max_tokens": "gen_ai.request.max_tokens",
    "temperature": "gen_ai.request.temperature",
    "top_p": "gen_ai.request.top_p",
    "seed": "gen_ai.request.seed",
    "stop": "gen_ai.request.stop_sequences",
}
_PLACES = 4096  # the most remembered combinations of a provider, a model and a kind of tokens
_EVENT = "gen_ai.client.inference.operation.details"


class Telemetry:
    """Makes a span of each call, a client span of each attempt, and metrics. Thread-safe.

    Args:
        settings: The settings of the hub, with the plugin and the address of each provider.
        environ: The environment variables by name.

    Raises:
        ConfigurationError: A variable has an unknown value.
    """

    def __init__(self, settings: Settings, environ: Mapping[str, str]) -> None:
        try:
            self._on_spans, self._on_events = content(environ)
        except ValueError as error:
            raise ConfigurationError(str(error)) from None
        self._names = names = chosen(environ)
        self._settings = settings
        self._place = lru_cache(_PLACES)(self._described_place)
        self._tracer = trace.get_tracer(_SCOPE, schema_url=names.schema)
        self._logger = get_logger(_SCOPE, schema_url=names.schema) if self._on_events else None
        meter = metrics.get_meter(_SCOPE, schema_url=names.schema)

        def histogram(name: str, unit: str, bounds: tuple[float, ...], description: str) -> metrics.Histogram:
            return meter.create_histogram(name, unit, description, explicit_bucket_boundaries_advisory=bounds)

        self._duration = histogram(names.duration, "s", SECONDS, "Seconds of a call, with its repeats.")
        self._first = histogram(names.first_chunk, "s", SECONDS, "Seconds to the first content of a stream.")
        self._gap = histogram(names.per_chunk, "s", SECONDS, "Seconds between two pieces of a stream.")
        self._uses: list[tuple[str, Callable[[int, Mapping[str, Any]], None], tuple[str, str] | None]] = []
        if names.tokens:
            tokens = histogram(names.tokens, "{token}", TOKENS, "Tokens of an attempt.")
            kinds = {"input": "input_tokens", "output": "output_tokens"}
            self._uses += [(field, tokens.record, ("gen_ai.token.type", kind)) for kind, field in kinds.items()]
        for field, name in names.histograms.items():
            self._uses.append((field, histogram(name, "{token}", TOKENS, "Tokens of an attempt.").record, None))
        for field, name in names.counters.items():
            counter = meter.create_counter(name, "{token}", "Tokens used.")
            self._uses.append((field, counter.add, ("gen_ai.token.modality", "unknown")))

    @hookimpl
    def providerhub_chunk(self, attempt: Attempt, seconds: float) -> None:
        """Record the time between two pieces of a stream."""
        self._gap.record(seconds, self._place(attempt.provider, attempt.model))

    @hookimpl
    def providerhub_call_finished(self, call: CallRecord) -> None:
        """Make the spans of a call and its attempts, and record the metrics."""
        attempts, operation = call.route.attempts, _operation(call)
        for attempt in attempts:  # the tokens of failed attempts cost money too
            for field, put, kind in self._uses if attempt.usage is not None else ():
                if (count := getattr(attempt.usage, field)) is not None:
                    put(count, self._place(attempt.provider, attempt.model, operation, kind))
        last = attempts[-1] if attempts else None
        asked = last or (call.completion if call.completion is not None and call.completion.provider else None)
        provider, model = (asked.provider, asked.model) if asked else ("providerhub", call.request.model)
        place = self._place(provider, model, operation)
        shown = place if call.error is None else {**place, "error.type": _kind(call.error)}
        self._duration.record(call.route.duration, shown)
        if call.request.stream and last is not None and last.first_token is not None:
            self._first.record(last.started + last.first_token, place)
        if self._logger is not None:
            words = _content.attributes(call)
            event = LogRecord(event_name=_EVENT, severity_number=SeverityNumber.INFO, attributes={**shown, **words})
            self._logger.emit(event)
        # The hooks run in the context of the caller, so a span that is made after the call has the right parent.
        span = self._tracer.start_span(f"{operation} {call.request.model}", attributes=place, start_time=_moment(call))
        if span.is_recording():
            for attempt in attempts:
                self._attempt(span, call, attempt, operation)
            self._describe(span, call)
            _end(span, call.error, _moment(call, call.route.duration))

    def _attempt(self, parent: Span, call: CallRecord, attempt: Attempt, operation: str) -> None:
        """Make the span of an attempt, as a child of the call's span."""
        span = self._tracer.start_span(
            f"{operation} {attempt.model}", set_span_in_context(parent), SpanKind.CLIENT,
            self._place(attempt.provider, attempt.model, operation), start_time=_moment(call, attempt.started),
        )  # fmt: skip
        span.set_attributes(self._answered(attempt.served_model, None, attempt.usage))
        span.set_attribute("providerhub.outcome", attempt.outcome)
        if attempt.first_token is not None:
            span.set_attribute("gen_ai.response.time_to_first_chunk", attempt.first_token)
        if attempt.request_id:
            span.set_attribute("providerhub.request_id", attempt.request_id)
        _end(span, attempt.error, _moment(call, attempt.started + attempt.duration))

    def _describe(self, span: Span, call: CallRecord) -> None:
        request, answer, cost = call.request, call.completion, call.cost
        sent = {name: value for field, name in _REQUEST.items() if (value := getattr(request, field)) is not None}
        form = (request.response_format or {}).get("type", "")
        span.set_attributes({"gen_ai.request.model": request.model, **sent})
        if request.stream:
            span.set_attribute("gen_ai.request.stream", value=True)
        if form.startswith("json"):
            span.set_attribute("gen_ai.output.type", "json")
        if answer is not None:
            span.set_attributes(self._answered(answer.served_model, answer.finish_reason, answer.usage))
            if answer.id:
                span.set_attribute("gen_ai.response.id", answer.id)
            if answer.cached:
                span.set_attribute("providerhub.cached", value=True)
        span.set_attribute("providerhub.attempts", len(call.route.attempts))
        if cost is not None:
            span.set_attributes({"providerhub.cost.amount": float(cost.amount), "providerhub.cost.currency": cost.currency})
        if self._on_spans:
            span.set_attributes(_content.attributes(call))

    def _answered(self, served_model: str | None, finish_reason: str | None, usage: Usage | None) -> dict[str, Any]:
        usage = usage or Usage()
        found = {
            "gen_ai.response.model": served_model,
            "gen_ai.response.finish_reasons": (finish_reason,) if finish_reason else None,
            "gen_ai.usage.input_tokens": usage.input_tokens,
            "gen_ai.usage.output_tokens": usage.output_tokens,
            "gen_ai.usage.cache_read.input_tokens": usage.cached_tokens,
            self._names.cache_write: usage.cache_write_tokens,
            "gen_ai.usage.reasoning.output_tokens": usage.reasoning_tokens,
        }
        return {name: value for name, value in found.items() if value is not None}

    def _described_place(
        self, provider: str, model: str, operation: str = "chat", kind: tuple[str, str] | None = None
    ) -> Mapping[str, Any]:
        """The attributes of an operation, with the type of its tokens. Callers must not change them."""
        config = self._settings.providers.get(provider)
        plugin = (config.plugin if config is not None else "") or provider
        name = PROVIDERS.get(plugin, plugin)
        found: dict[str, Any] = {
            "gen_ai.operation.name": operation, "gen_ai.provider.name": name, "gen_ai.request.model": model,
        }  # fmt: skip
        found |= dict([kind] if kind else ())
        address = urlsplit(config.url) if config is not None and config.url else None
        if address is not None and address.hostname:
            found["server.address"] = address.hostname
            found["server.port"] = address.port or (80 if address.scheme == "http" else 443)
        return found


def _operation(call: CallRecord) -> str:
    return "embeddings" if hasattr(call.request, "texts") else "chat"


def _moment(call: CallRecord, seconds: float = 0.0) -> int:
    """The Unix time of a point of a call, in nanoseconds."""
    return int((call.started + seconds) * 1e9)


def _end(span: Span, error: BaseException | None, moment: int) -> None:
    """End a span. Only the class of an error is recorded, since its message may quote content."""
    if error is not None:
        span.set_attribute("error.type", _kind(error))
        span.set_status(Status(StatusCode.ERROR, _kind(error)))
    span.end(moment)


def _kind(error: BaseException) -> str:
    cls = type(error)
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"
