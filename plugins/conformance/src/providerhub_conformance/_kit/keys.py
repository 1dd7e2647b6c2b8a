"""Checks that the key is sent to the service and is not shown elsewhere. A canary stands for the key."""

from __future__ import annotations

import contextlib
import io
import logging
import traceback
import warnings
from collections.abc import Callable, Iterator

from providerhub import Completion, ProviderHubError
from providerhub_conformance._faults.steps import Reset, Script
from providerhub_conformance._kit.bench import Bench, read_whole, root_cause
from providerhub_conformance._kit.check import check
from providerhub_conformance._kit.outcome import NotApplicable, expect

GROUP = "secrets"
_PROMISE = "A key is never in a log, a traceback, an error report or a screenshot."


def _keys(bench: Bench) -> tuple[str, ...]:
    keys = bench.subject.secrets
    if not keys:
        raise NotApplicable("it declares no secret setting")
    return keys


def _absent(text: str, keys: tuple[str, ...], where: str) -> None:
    found = [key for key in keys if key in text]
    for key in found:
        at = text.index(key)
        expect(not found, f"the key is in {where}: …{text[max(0, at - 60) : at]}***…")


@check(
    GROUP,
    both=True,
    fix="Send config.api_key.reveal() in the header of the service.",
    promise="The service gets the configured key.",
)
def key_used(bench: Bench) -> None:
    """The configured key reaches the service with the request."""
    if not any(s.name == "api_key" for s in bench.subject.info.all_settings):
        raise NotApplicable("it declares no setting api_key")
    if bench.subject.settings.get("api_key") == "":
        raise NotApplicable("the suite leaves api_key unset")
    server = bench.serve(bench.answering())
    bench.client(server).complete()
    key = bench.asked(server).key
    expect(key in bench.subject.secrets, "the service got no key" if not key else "the service got another key")


@check(
    GROUP,
    wire=False,
    both=False,
    fix="Keep the Secret object, and reveal it where the header is written. Do not show values in __repr__.",
    promise=_PROMISE,
)
def key_not_in_repr(bench: Bench) -> None:
    """`repr` and `str` of the provider object and its attributes do not show the key."""
    keys = _keys(bench)
    server = bench.service(bench.answering())
    hub = bench.hub(server.url + bench.wire.base if server else None)
    bench.client(server, hub=hub).complete()
    provider = bench.provider(hub)
    _absent(f"{provider!r} {provider!s}", keys, "the provider's repr")


@check(
    GROUP,
    fix="Do not log headers, configuration or requests. When an SDK logs them at DEBUG, keep the key out of its arguments.",
    promise=_PROMISE,
)
def key_not_in_logs(bench: Bench) -> None:
    """Logs of any level, warnings and output of calls that succeed and fail do not show the key."""
    keys = _keys(bench)
    with _overheard() as heard:
        bench.client(bench.serve(bench.answering())).complete()
        for status in (401, 503):
            client = bench.client(bench.serve(_quoting(bench, status)))
            for way in bench.ways(client):
                with contextlib.suppress(ProviderHubError):
                    way()
    _absent(heard.getvalue(), keys, "what was logged")


@check(
    GROUP,
    fix="Remove the key from foreign text before it becomes a message or an excerpt: text.replace(key, '***').",
    promise=_PROMISE,
)
def key_not_in_errors(bench: Bench) -> None:
    """The message, excerpt, causes and traceback of an error do not show the key, also when the service quotes it."""
    keys = _keys(bench)
    for status in (401, 400, 503):
        client = bench.client(bench.serve(_quoting(bench, status)))
        for way in bench.ways(client):
            _kept_out(bench, way, keys, f"HTTP {status} that quotes the key")
    client = bench.client(bench.serve(Reset()))
    for way in bench.ways(client):
        with contextlib.suppress(ProviderHubError):
            way()
            continue  # the check `reset` reports a call without an error
        _kept_out(bench, way, keys, "a connection that is reset")
    if bench.may_stream:
        frames = bench.frames()
        event = bench.wire.error_event(_quotation(bench))
        client = bench.client(bench.serve(bench.streamed(*frames.head, *frames.pieces[:1], event)))
        _kept_out(bench, lambda: read_whole(client), keys, "an error inside a stream that quotes the key")


def _kept_out(bench: Bench, way: Callable[[], Completion], keys: tuple[str, ...], what: str) -> None:
    error = bench.fails_outright(way, what)
    chain: list[BaseException] = [error, root_cause(error)]
    said = "".join(text for one in chain for text in traceback.format_exception(one))
    kept = " ".join(f"{one!r} {one!s} {getattr(one, 'excerpt', '')} {one.__dict__!r}" for one in chain)
    _absent(said + kept, keys, f"the error of {what}")


def _quoting(bench: Bench, status: int) -> Script:
    return bench.refusing(status, message=_quotation(bench))


def _quotation(bench: Bench) -> str:
    return f"your key {' and '.join(bench.subject.secrets)} is not welcome"


class _Listener(logging.Handler):
    def __init__(self, target: io.StringIO) -> None:
        super().__init__(logging.DEBUG)
        self._target = target

    def emit(self, record: logging.LogRecord) -> None:
        """Keep all that a handler could show."""
        self._target.write(f"{self.format(record)} {record.args!r} {record.exc_text or ''}\n")


@contextlib.contextmanager
def _overheard() -> Iterator[io.StringIO]:
    """Collect all logs, warnings and output."""
    heard = io.StringIO()
    listener = _Listener(heard)
    root = logging.getLogger()
    names = [name for name, logger in root.manager.loggerDict.items() if isinstance(logger, logging.Logger)]
    levels = {logger: (logger.level, logger.disabled) for logger in [root, *map(logging.getLogger, names)]}
    for logger in levels:
        logger.disabled = False
        logger.setLevel(logging.DEBUG)
    root.addHandler(listener)
    try:
        with warnings.catch_warnings(record=True) as warned, contextlib.redirect_stdout(heard), contextlib.redirect_stderr(heard):
            warnings.simplefilter("always")
            yield heard
            for one in warned:
                heard.write(f"{one.message}\n")
    finally:
        root.removeHandler(listener)
        for logger, (level, disabled) in levels.items():
            logger.setLevel(level)
            logger.disabled = disabled
