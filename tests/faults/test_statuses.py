"""Rows 9-18 and 38 of the fault matrix: status lines, headers and whole bodies."""

import contextlib
import email.utils
import json
import logging
import socket
import threading
import time

import pytest

from providerhub import (
    AuthenticationError,
    BadRequestError,
    ContentPolicyError,
    ContextLengthError,
    ModelUnavailableError,
    ProtocolError,
    ProviderTimeoutError,
    QuotaExceededError,
    RateLimitError,
    RetryPolicy,
    ServerError,
    Timeout,
)
from providerhub.testing import (
    Close,
    Drip,
    FakeClock,
    Hold,
    Repeat,
    chunked,
    http_response,
    openai_completion,
    openai_error,
    openai_stream,
    response_head,
    sse,
)


def fine(request):
    return openai_stream("fine") if request.json().get("stream") else http_response(body=openai_completion("fine"))


def throttled(**headers):
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return http_response(429, openai_error("slow down", kind="requests", code="rate_limit_exceeded"), names)


def pause_left(hub):
    """Seconds for which the plan leaves `a` alone as rate limited."""
    (skip,) = (skip for skip in hub.explain("m").skipped if skip.provider == "a")
    assert skip.reason == "rate limited"
    return float(skip.detail.split()[1])


DAY = 86400


def http_date(seconds):
    return email.utils.formatdate(seconds, usegmt=True)


@pytest.fixture
def clock():
    """A clock whose waits take no time; the sockets' own go by the system's, so both begin alike."""
    return FakeClock(time.monotonic())


def _waited_for(way, hub, server, *, stream):
    answer = way.answer(hub, stream=stream)
    first, second = answer.route.attempts
    assert (type(first.error), second.outcome, answer.text) == (RateLimitError, "ok", "fine")
    assert server.served == 2
    return second.waited


def test_fault_09_rate_limit_of_the_only_provider(way, hub_of, serve, stream, clock):
    server = serve(throttled(Retry_After="2"), fine)
    waited = _waited_for(way, hub_of(a=server, clock=clock), server, stream=stream)
    assert clock.sleeps == [waited]
    assert 2 <= waited <= 2.2


def test_fault_09_rate_limit_in_real_time(way, hub_of, serve):
    server = serve(throttled(Retry_After="1"), fine)
    assert _waited_for(way, hub_of(a=server), server, stream=True) > 0.9  # counted from the failure on
    one, two = server.requests
    assert two.at - one.at >= 1


def test_fault_09_rate_limit_in_milliseconds(way, hub_of, serve, clock):
    server = serve(throttled(Retry_After="60", Retry_After_Ms="2000"), fine)
    assert 2 <= _waited_for(way, hub_of(a=server, clock=clock), server, stream=True) <= 2.2


@pytest.mark.parametrize("skew", [-DAY, DAY], ids=["slow", "fast"])
def test_fault_10_rate_limit_until_a_date_by_a_skewed_clock(way, hub_of, serve, stream, clock, skew):
    # Relative to the answer's Date: relative to this machine's clock, it would be a day away, or past.
    now = int(time.time()) + skew
    server = serve(throttled(Retry_After=http_date(now + 2), Date=http_date(now)), fine)
    assert 2 <= _waited_for(way, hub_of(a=server, clock=clock), server, stream=stream) <= 2.2


@pytest.mark.parametrize("headers", [{"Retry_After": "2"}, {"Retry_After": http_date(1_000_002), "Date": http_date(1_000_000)}])
def test_fault_09_and_10_rate_limit_beside_another_provider(way, hub_of, serve, good, stream, headers):
    server = serve(throttled(**headers))
    hub = hub_of(a=server, b=good)
    answer = way.answer(hub, stream=stream)
    assert [(attempt.provider, attempt.waited) for attempt in answer.route.attempts] == [("a", 0.0), ("b", 0.0)]
    assert 0 < pause_left(hub) <= 2.2
    # The provider is skipped from now on, but its failure does not count for the breaker.
    answer = way.answer(hub, stream=stream)
    assert [(attempt.provider, attempt.outcome) for attempt in answer.route.attempts] == [("b", "ok")]
    assert [(skip.provider, skip.reason) for skip in answer.route.skipped if skip.model] == [("a", "rate limited")]
    assert server.served == 1


def test_fault_11_rate_limit_for_a_day(way, hub_of, serve, good, stream):
    server = serve(throttled(Retry_After=str(DAY)))
    error = way.fails(hub_of(a=server), RateLimitError, stream=stream)
    assert len(error.route.attempts) == server.served == 1  # no wait, no second try
    assert error.retry_after == DAY
    hub = hub_of(a=server, b=good)
    answer = way.answer(hub, stream=stream)
    assert [attempt.provider for attempt in answer.route.attempts] == ["a", "b"]
    assert 590 < pause_left(hub) <= 600  # remembered, but for 10 minutes at most


def test_fault_11_rate_limit_that_ends_too_late_for_the_deadline(way, hub_of, serve):
    # The wait would end before the deadline, but not a second before it.
    error = way.fails(hub_of(a=serve(throttled(Retry_After="3"))), RateLimitError, timeout=3.5)
    assert len(error.route.attempts) == 1


JUNK = ["inf", "-inf", "nan", "-1", "1e999", "soon", "", "2 s", "1_0", "0x2", "Thu, 99 Foo 2020 99:99:99 GMT", "\u0661\u0662"]


@pytest.mark.parametrize("value", JUNK)
def test_fault_11_rate_limit_with_a_senseless_retry_after(way, hub_of, serve, good, clock, value):
    server = serve(throttled(Retry_After=value) if value.isascii() else [
        b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: " + value.encode() + b"\r\nContent-Length: 0\r\n\r\n"])  # fmt: skip
    error = way.fails(hub_of(a=server, clock=clock), RateLimitError)
    first, second = error.route.attempts
    assert first.error.retry_after is None
    assert 0 <= second.waited < 10  # the backoff of these tests, not the value of the header
    answer = way.answer(hub_of(a=server, b=good), stream=False)
    assert [attempt.provider for attempt in answer.route.attempts] == ["a", "b"]


def test_fault_11_rate_limit_does_not_count(way, hub_of, serve, good, clock):
    hub = hub_of(a=serve(throttled()), b=good, clock=clock)
    for _ in range(6):
        way.fails(hub, RateLimitError, "a/m", retry=RetryPolicy(attempts=1, throttle_backoff=0))
    assert [candidate.provider for candidate in hub.explain("m").candidates] == ["a", "b"]


USED_UP = [
    (429, openai_error("You exceeded your current quota", kind="insufficient_quota", code="insufficient_quota")),
    (429, {"error": {"message": "Your quota is exhausted for this month."}}),
    (402, {"error": {"message": "Payment required"}}),
    (402, b""),
    (403, openai_error("no money", kind="billing_error")),
]


@pytest.mark.parametrize(("status", "body"), USED_UP)
def test_fault_12_quota_used_up(row, serve, stream, status, body):
    row.fails_over(serve(http_response(status, body)), QuotaExceededError, again=False, pause="quota used up", stream=stream)


def test_fault_12_quota_pauses_for_ten_minutes(way, hub_of, serve, good):
    hub = hub_of(a=serve(http_response(*USED_UP[0], {"Retry-After": "1"})), b=good)
    assert way.answer(hub, stream=True).provider == "b"
    (skip,) = (skip for skip in hub.explain("m").skipped if skip.model)
    assert (skip.provider, skip.reason) == ("a", "quota used up")
    assert 590 < float(skip.detail.split()[1]) <= 600


@pytest.mark.parametrize(
    ("status", "stream"), [(500, False), *((status, True) for status in (500, 502, 503, 504, 529, 408, 409, 425))]
)
def test_fault_13_server_error(row, serve, status, stream):
    error = row.fails_over(serve(http_response(status, openai_error("overloaded"))), ServerError, again=True, stream=stream)
    assert error.status == status


@pytest.mark.parametrize(
    "body", [b"", b"<html>Bad gateway</html>", b'{"error": ', b"\xff\xfe", b"[]", b'{"error": {"message": 5}}']
)
def test_fault_13_server_error_whatever_its_body(row, serve, body):
    row.fails_over(serve(http_response(502, body)), ServerError, again=True)


@pytest.mark.parametrize(
    "rest",
    [[Hold()], [Drip(b"a" * 10_000, 0.01)], [b"abc", Close()], [Repeat(b"a" * 1000)]],
    ids=["held", "dripped", "cut", "endless"],
)
def test_fault_13_server_error_whose_body_does_not_come(row, serve, rest, monkeypatch):
    monkeypatch.setattr("providerhub.http._answer.REFUSAL_WAIT", 0.2)
    head = response_head(503, {"Content-Type": "text/plain", "Content-Length": "100000000"})
    timeout = Timeout(first_token=20, byte_idle=0.06, total=60)
    error = row.fails_over(serve([head, *rest]), ServerError, again=True, timeout=timeout)
    assert error.status == 503


@pytest.mark.parametrize(
    "rest", [[], [json.dumps(openai_error("slow down")).encode()], [Repeat([Drip(b"a", 0.3)])]], ids=["none", "whole", "pings"]
)
def test_fault_09_body_of_a_refusal_that_does_not_end(way, hub_of, serve, rest):
    # The status is known: for the explanation in the body, the call waits neither to its deadline nor for the byte-idle timeout.
    head = response_head(429, {"Content-Type": "application/json", "Content-Length": "100000"})
    hub = hub_of(a=serve([head, *rest, Hold()]), retry=RetryPolicy(attempts=1), timeout=Timeout(byte_idle=20, total=6))
    assert way.fails(hub, RateLimitError).status == 429


@pytest.fixture(params=["closes", "holds"])
def hasty(request):
    """The address of a server that refuses one request by its head without reading the body, and closes or holds on."""
    refusal = (
        b"HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 35\r\n\r\n" + b'{"error": {"message": "too large!"}}'
    )

    def refuse():
        with contextlib.suppress(OSError):
            connection, _ = listener.accept()
            with connection:
                head = b""
                while b"\r\n\r\n" not in head:
                    head += connection.recv(4096)
                connection.sendall(refusal)
                assert request.param == "closes" or ended.wait(60)

    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=refuse)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        ended.set()
        thread.join()


def test_fault_13_refusal_while_the_request_is_sent(way, hub_of, hasty):
    error = way.fails(hub_of(a=hasty, retry=RetryPolicy(attempts=1)), BadRequestError, messages="word " * 6_000_000)
    assert (error.status, "too large!" in str(error)) == (413, True)


@pytest.mark.parametrize(("status", "stream"), [(503, False), (503, True), (500, True), (408, True)])
def test_fault_14_should_not_be_retried(row, serve, status, stream):
    server = serve(http_response(status, openai_error("no use"), {"x-should-retry": "false"}))
    row.fails_over(server, ServerError, again=False, stream=stream)


def test_fault_14_rate_limit_that_should_not_be_retried(way, hub_of, serve):
    server = serve(http_response(429, b"", {"X-Should-Retry": "False", "Retry-After": "0"}))
    error = way.fails(hub_of(a=server), RateLimitError)
    assert len(error.route.attempts) == server.served == 1


@pytest.mark.parametrize("status", [401, 403])
def test_fault_15_key_refused(row, serve, stream, status, canary, caplog):
    # Like careless services, this server repeats the key in the message and in a header.
    body = openai_error(f"Incorrect API key provided: {canary}.", code="invalid_api_key")
    server = serve(http_response(status, body, {"X-Debug": f"Bearer {canary}"}))
    with caplog.at_level(logging.WARNING, "providerhub"):
        error = row.fails_over(server, AuthenticationError, again=False, pause="key rejected", stream=stream)
    assert server.requests[0].header("Authorization") == f"Bearer {canary}"
    assert "Incorrect API key provided: ***" in error.excerpt
    warnings = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert f"provider a refused its key (status {status}); calls skip it for some time, or until the key changes" in warnings
    assert canary not in caplog.text


def test_fault_15_refused_key_is_not_sent_again(way, hub_of, serve, canary):
    server = serve(http_response(401, openai_error(f"bad key {canary}")))
    hub = hub_of(a=server)
    way.fails(hub, AuthenticationError)
    way.fails(hub, AuthenticationError)
    assert server.served == 1


@pytest.mark.parametrize(("status", "other_too"), [(401, True), (403, False)])
def test_fault_15_what_is_left_alone(way, hub_of, serve, good, status, other_too):
    # 401: the key is wrong. 403: the key may still work for the provider's other models.
    hub = hub_of(a=serve(http_response(status, b"")), b=good)
    way.answer(hub, stream=True)
    plan = hub.explain(["gpt-4", "b/gpt-4"])
    assert ("a" in {candidate.provider for candidate in plan.candidates}) is not other_too


EQUAL = {"a": 8192, "b": 8192}
"""Context windows: the second one is no larger than the first."""
TOO_LONG = [
    (400, openai_error("This model's maximum context length is 8192 tokens.", code="context_length_exceeded")),
    (400, {"error": {"message": "prompt is too long: 9000 tokens > 8192 maximum"}}),
    (413, {"error": {"message": "the request exceeds the context window"}}),
]


@pytest.mark.parametrize(("status", "body"), TOO_LONG)
def test_fault_16_context_length(row, serve, stream, status, body):
    row.stops(serve(http_response(status, body)), ContextLengthError, stream=stream, windows=EQUAL)


@pytest.mark.parametrize("windows", [EQUAL, {"a": 8192, "b": 4096}])
def test_fault_16_context_length_and_no_larger_window(row, serve, windows):
    row.stops(serve(http_response(*TOO_LONG[0])), ContextLengthError, windows=windows)


@pytest.mark.parametrize("windows", [{}, {"a": 8192}, {"b": 8192}])
def test_fault_16_context_length_goes_on_to_a_window_that_is_not_known(way, hub_of, serve, good, stream, windows):
    hub = hub_of(a=serve(http_response(*TOO_LONG[0])), b=good, windows=windows)
    answer = way.answer(hub, stream=stream)
    assert [(attempt.provider, attempt.outcome) for attempt in answer.route.attempts] == [("a", "error"), ("b", "ok")]


def test_fault_16_context_length_goes_on_to_a_larger_window(way, hub_of, serve, good, stream):
    server, small = serve(http_response(*TOO_LONG[0])), serve(fine)
    hub = hub_of(a=server, b=small, c=good, windows={"a": 8192, "b": 8192, "c": 32768})
    answer = way.answer(hub, stream=stream)
    assert [(attempt.provider, attempt.outcome) for attempt in answer.route.attempts] == [("a", "error"), ("c", "ok")]
    assert [(skip.provider, skip.reason) for skip in answer.route.skipped if skip.model] == [("b", "context window")]
    assert small.served == 0
    for _ in range(5):
        way.answer(hub, stream=stream)
    assert [candidate.provider for candidate in hub.explain("m").candidates] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (400, openai_error("temperature must be a number"), BadRequestError),
        (422, b"unprocessable", BadRequestError),
        (413, b"too large", BadRequestError),
        (400, openai_error("flagged", code="content_policy_violation"), ContentPolicyError),
    ],
)
def test_fault_16_other_refusals_of_the_request(row, serve, stream, status, body, error):
    row.stops(serve(http_response(status, body)), error, stream=stream)


@pytest.fixture
def page(canary):
    return f"<!DOCTYPE html>\n<html><title>Welcome {canary}</title>\n{'<p>Sign in to the network.</p>' * 1000}</html>\n".encode()


def _capped(error, canary):
    assert error.excerpt.startswith("<!DOCTYPE html>")
    assert len(error.excerpt) <= 500
    assert canary not in error.excerpt


@pytest.mark.parametrize("kind", ["text/html; charset=utf-8", "text/event-stream", "application/json", ""])
def test_fault_17_html_for_an_answer(row, serve, stream, page, kind, canary):
    headers = {"Content-Type": kind, "X-Empty": ""}
    error = row.fails_over(serve(http_response(200, page, headers)), ProtocolError, again=False, stream=stream)
    _capped(error, canary)


def test_fault_17_html_on_one_line_with_the_key_across_the_cut(row, serve, stream, canary):
    for start in (480, 490, 495):
        page = b"<html>".ljust(start, b"x") + canary.encode() + b"y" * 5000
        server = serve(http_response(200, page, {"Content-Type": "text/html"}))
        error = row.fails_over(server, ProtocolError, again=False, stream=stream)
        assert "canary" not in error.excerpt


def test_fault_17_html_of_a_connection_that_stays_open(row, serve, page):
    head = response_head(headers={"Content-Type": "text/html", "Content-Length": "10000000"})
    row.fails_over(serve([head, page, Hold()]), ProtocolError, again=False)


IN_A_BODY = [
    (openai_error("no money left", code="insufficient_quota"), QuotaExceededError, False, False, "quota used up"),
    (openai_error("slow down", code="rate_limit_exceeded"), RateLimitError, None, False, "rate limited"),
    (openai_error("boom", kind="server_error"), ServerError, True, True, ""),
    ({"error": "boom"}, ServerError, True, True, ""),
    ({"object": "error", "message": "boom", "code": 503}, ServerError, True, True, ""),
    ({"error": {"message": "bad key", "code": 401}}, AuthenticationError, False, False, "key rejected"),
]


@pytest.mark.parametrize(("body", "error", "again", "counts", "pause"), IN_A_BODY)
def test_fault_18_error_in_a_successful_answer(row, way, hub_of, serve, stream, body, error, again, counts, pause):
    server = serve(http_response(200, body))
    if again is None:  # the pause of a rate limit without a time is the short backoff of these tests
        failed = way.fails(hub_of(a=server), error, stream=stream)
        assert len(failed.route.attempts) == 2
        return
    row.fails_over(server, error, again=again, counts=counts, pause=pause, stream=stream)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (openai_error("too long", code="context_length_exceeded"), ContextLengthError),
        (openai_error("bad tools"), BadRequestError),
        (openai_error("flagged", code="content_filter"), ContentPolicyError),
    ],
)
def test_fault_18_refusal_in_a_successful_answer(row, serve, stream, body, error):
    row.stops(serve(http_response(200, body)), error, stream=stream, windows=EQUAL)


def test_fault_18_missing_model_in_a_successful_answer(row, serve, stream):
    server = serve(http_response(200, openai_error("The model `m` does not exist", code="model_not_found")))
    # Lockchat marks this error as retryable.
    row.fails_over(server, ModelUnavailableError, again=True, counts=False, stream=stream)


def test_fault_18_error_that_repeats_the_key(row, serve, stream, canary):
    body = openai_error(f"internal error for {canary}", kind="server_error")
    error = row.fails_over(serve(http_response(200, body)), ServerError, again=True, stream=stream)
    assert "internal error for ***" in str(error)


@pytest.fixture
def target(serve):
    """Where redirects point to; nobody may come."""
    server = serve(fine)
    yield server
    assert (server.connected, server.received) == (0, b"")


REDIRECTS = [
    (307, "another host", False),
    *((status, "another host", True) for status in (300, 301, 302, 303, 304, 305, 307, 308)),
    (302, "the same host", True),
    (308, "the same host", True),
    (301, "nowhere", True),
]


@pytest.mark.parametrize(("status", "to", "stream"), REDIRECTS)
def test_fault_38_redirect(row, serve, target, canary, status, to, stream):
    where = {"another host": f"{target.url}/v1/chat/completions?key={canary}", "the same host": "/login", "nowhere": ""}[to]
    server = serve(http_response(status, b"" if status == 304 else b"moved", {"Location": where} if where else {}))
    error = row.fails_over(server, ProtocolError, again=False, stream=stream)
    assert error.status == status
    assert "redirect" in str(error)
    assert {request.path for request in server.requests} == {"/v1/chat/completions"}


def test_fault_38_redirect_by_other_means(way, hub_of, serve, target):
    headers = {
        "Refresh": f"0; url={target.url}",
        "Content-Location": target.url,
        "Location": target.url,
        "Link": f"<{target.url}>",
    }
    server = serve(http_response(200, openai_completion("fine"), headers))
    assert way.answer(hub_of(a=server), stream=False).text == "fine"


def test_fault_18_error_before_a_stream_that_never_ends(row, serve):
    server = serve(chunked([*sse(openai_error("boom", kind="server_error"), done=False), Hold()]))
    timeout = Timeout(first_token=20, total=60)
    assert not isinstance(row.fails_over(server, ServerError, again=True, timeout=timeout), ProviderTimeoutError)
