"""Refused requests: status, body and headers → the error that decides the next step of the chain."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providerhub import (
    AuthenticationError,
    BadRequestError,
    ContentPolicyError,
    ContextLengthError,
    ForbiddenError,
    ModelUnavailableError,
    ProtocolError,
    ProviderConnectionError,
    ProviderError,
    QuotaExceededError,
    RateLimitError,
    ServerError,
    error_from_status,
)


@pytest.mark.parametrize(
    ("status", "kind", "retryable"),
    [
        (400, BadRequestError, False),
        (401, AuthenticationError, False),
        (402, QuotaExceededError, False),
        (403, ForbiddenError, False),
        (404, ModelUnavailableError, False),
        (405, ProtocolError, False),
        (407, ProviderConnectionError, False),
        (408, ServerError, True),
        (409, ServerError, True),
        (410, ModelUnavailableError, False),
        (413, BadRequestError, False),
        (422, BadRequestError, False),
        (425, ServerError, True),
        (429, RateLimitError, True),
        (500, ServerError, True),
        (501, ServerError, False),
        (502, ServerError, True),
        (503, ServerError, True),
        (504, ServerError, True),
        (529, ServerError, True),
        (301, ProtocolError, False),
        (418, ProtocolError, False),
    ],
)
def test_the_status_table(status, kind, retryable):
    error = error_from_status(status)
    assert type(error) is kind
    assert error.status == status
    assert error.retryable is retryable
    assert str(status) in str(error)


@pytest.mark.parametrize("status", ["500", None, 500.0, True])
def test_a_status_of_a_wrong_type(status):
    with pytest.raises(TypeError, match="status must be a whole number, not"):
        error_from_status(status)


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (429, "insufficient_quota", QuotaExceededError),
        (429, "rate_limit_exceeded", RateLimitError),
        (400, "context_length_exceeded", ContextLengthError),
        (400, "content_policy_violation", ContentPolicyError),
        (400, "model_not_found", ModelUnavailableError),
        (400, "invalid_api_key", AuthenticationError),
        (200, "overloaded_error", ServerError),
        (200, "rate_limit_error", RateLimitError),
        (200, "invalid_request_error", BadRequestError),
        (200, "whatever", ServerError),
        (503, "insufficient_quota", ServerError),
    ],
)
@pytest.mark.parametrize("key", ["code", "type"])
def test_a_code_in_the_body_outranks_the_status_but_for_5xx(status, code, kind, key):
    body = {"error": {key: code, "message": "see above"}}
    assert type(error_from_status(status, {}, json.dumps(body).encode())) is kind
    assert type(error_from_status(status, {}, body)) is kind


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("You exceeded your current quota, please check your plan", QuotaExceededError),
        ("Your credit balance is too low to access the API", QuotaExceededError),
        ("This model's maximum context length is 8192 tokens", ContextLengthError),
        ("ContextWindowExceededError: this model has 8192 tokens", ContextLengthError),
        ("prompt is too long: 210000 tokens > 200000 maximum", ContextLengthError),
        ("blocked by our content management policy", ContentPolicyError),
        ("The model: `gpt-4` does not exist", ModelUnavailableError),
        ("no such model", ModelUnavailableError),
        ("temperature must be at most 2", BadRequestError),
    ],
)
@pytest.mark.parametrize("shape", [lambda m: {"error": {"message": m}}, lambda m: {"error": m}, lambda m: {"message": m}, str])
def test_a_phrase_in_the_body_counts_in_every_shape(message, kind, shape):
    body = shape(message)
    error = error_from_status(400, {}, body if isinstance(body, str) else json.dumps(body).encode())
    assert type(error) is kind
    assert message in str(error)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "2"}, 2.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"Retry-After-Ms": "250", "Retry-After": "9"}, 0.25),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:02 GMT", "Date": "Wed, 21 Oct 2015 07:28:00 GMT"}, 2.0),
        ({"Retry-After": "Wed, 21 Oct 2015 07:27:00 GMT", "Date": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        ({"Retry-After": "0"}, 0.0),
        ({"Retry-After": "86400"}, 86400.0),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "inf"}, None),
        ({"Retry-After": "-1"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": ""}, None),
        ({"Retry-After": "Sun, 06 Nov 1994 08:49:37 +99999999999999999999"}, None),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT", "Date": "Sun, 06 Nov 1994 08:49:37 +99999999999999999999"}, 0.0),
        ({"Retry-After-Ms": "0", "Retry-After": "1"}, 1.0),
        ({"Retry-After-Ms": "0"}, None),
        ({"Retry-After-Ms": "nan", "Retry-After": "2"}, 2.0),
        ({"Retry-After-Ms": "-5", "Retry-After": "2"}, 2.0),
        ({"Retry-After-Ms": "junk", "Retry-After": "2"}, 2.0),
        ({}, None),
    ],
)
def test_every_form_of_retry_after(headers, seconds):
    assert error_from_status(429, headers).retry_after == seconds


@given(st.text(), st.text())
def test_no_header_and_no_body_makes_it_fail(value, body):
    error = error_from_status(429, {"Retry-After": value, "Date": body}, body.encode("utf-8", "replace"))
    assert isinstance(error, ProviderError)
    assert error.retry_after is None or error.retry_after >= 0


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["error", "code", "type", "message", "detail"]), inner),
    )
)
def test_no_json_makes_it_fail(body):
    for status in (200, 400, 429, 500):
        assert isinstance(error_from_status(status, {}, json.dumps(body).encode()), ProviderError)


@pytest.mark.parametrize("nested", ['{{"error": {}}}', '{{"error": {{"message": {}}}}}'])
def test_no_depth_of_a_body_makes_it_fail(nested):
    for depth in (100, *range(900, 1000), 100_000):
        body = nested.format("[" * depth + "]" * depth)
        assert isinstance(error_from_status(500, {}, body.encode()), ServerError)
        parsed = None
        with contextlib.suppress(RecursionError):  # nested so deeply that it cannot be parsed
            parsed = json.loads(body)
        if parsed is not None:
            assert isinstance(error_from_status(500, {}, parsed), ServerError)


def test_x_should_retry_false_is_obeyed():
    assert not error_from_status(503, {"X-Should-Retry": "false"}).retryable
    assert error_from_status(503, {"x-should-retry": "true"}).retryable


def test_the_excerpt_of_a_long_body_is_capped():
    error = error_from_status(400, {}, b"<html>" + b"x" * 100_000)
    assert len(error.excerpt) == 500
    assert len(str(error)) < 400


def test_an_error_in_a_successful_answer_does_not_name_its_status():
    assert "200" not in str(error_from_status(200, {}, {"message": "overloaded"}))


RETRY_INFO = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.07s"}


@pytest.mark.parametrize("wrap", [lambda error: error, lambda error: [error]])
def test_googles_retry_info_in_the_body_counts_unless_a_header_says_otherwise(wrap):
    body = json.dumps(wrap({"error": {"code": 429, "message": "slow", "details": [{"@type": "other"}, RETRY_INFO]}}))
    assert error_from_status(429, {}, body).retry_after == 34.07
    assert error_from_status(429, {"Retry-After": "2"}, body).retry_after == 2.0
    assert error_from_status(429, {"Retry-After": "soon"}, body).retry_after == 34.07


@pytest.mark.parametrize("delay", ["soon", "-1s", "infs", None, 3, "1e9999s"])
def test_a_useless_retry_info_is_ignored(delay):
    assert error_from_status(429, {}, {"error": {"details": [{**RETRY_INFO, "retryDelay": delay}]}}).retry_after is None


@pytest.mark.parametrize(
    "said",
    [
        {"error": {"type": "permission_error", "message": "not yours"}},
        {"error": {"code": 403, "message": "Your API key was reported as leaked. Please use another API key."}},
        {"error": {"message": "Your account is not active"}},
        {"message": "The token has expired"},
        {"error": {"message": "Organization acme has been disabled"}},
        "invalid key",
    ],
)
def test_a_403_that_speaks_of_the_key_or_the_account_is_a_verdict_on_it(said):
    error = error_from_status(403, {}, said)
    assert type(error) is AuthenticationError
    assert error.about_key


@pytest.mark.parametrize(
    "said",
    [
        "",
        "Forbidden",
        "<html><title>Attention Required!</title>Your account token is blocked</html>",
        " \n<!DOCTYPE html><p>invalid API key</p>",
        {"message": "Batches are not open to you", "code": "batches_closed"},
        {"errors": [{"message": "AiError: not now", "code": 5023}]},
        {"error": {"code": "unsupported_country_region_territory", "message": "Country, region, or territory not supported"}},
    ],
)
def test_any_other_403_is_no_verdict_on_the_key(said):
    error = error_from_status(403, {}, said)
    assert type(error) is ForbiddenError
    assert not error.about_key


@pytest.mark.parametrize("before", ["", "\n", "event: error\r\n"])
def test_a_request_for_a_stream_may_be_refused_with_an_event(before):
    said = {"error": {"message": "That is too much", "type": "invalid_request_error", "code": "context_length_exceeded"}}
    error = error_from_status(400, {}, f"{before}data: {json.dumps(said)}\r\n\r\ndata: [DONE]\r\n\r\n".encode())
    assert type(error) is ContextLengthError
    assert "HTTP 400: That is too much" in str(error)
    assert "data:" in str(error_from_status(500, {}, "data: {not JSON"))


ASKED = "POST https://api.acme.example/v1/v1/chat/completions"


@pytest.mark.parametrize("status", [404, 405])
@pytest.mark.parametrize(
    "said",
    [
        "404 page not found",
        "<html><h1>404 Not Found</h1>We are a model company</html>",
        {"detail": "Not Found"},
        {"error": {"message": "Unknown request URL: POST /v1/v1", "code": "unknown_url"}},
    ],
)
def test_a_404_without_a_word_of_the_model_is_about_the_address(status, said):
    error = error_from_status(status, {}, said, asked=ASKED)
    assert type(error) is ProtocolError
    assert str(error).endswith(f"; check the setting `url`; asked {ASKED}")
    assert str(error_from_status(status, {}, said)).endswith("; check the setting `url`")


@pytest.mark.parametrize(
    "said",
    [
        {"error": {"type": "not_found_error", "message": "model: claude-0"}},
        {"error": {"message": "No endpoints found for acme/x.", "code": 404}},
        {"error": {"code": "DeploymentNotFound", "message": "The API deployment for this resource does not exist."}},
        {"error": "model 'x' not found"},
    ],
)
def test_a_404_that_speaks_of_the_model_is_about_it(said):
    assert type(error_from_status(404, {}, said, asked=ASKED)) is ModelUnavailableError


def test_a_proxy_that_refuses_the_password_is_named():
    assert "the proxy refuses" in str(error_from_status(407))
    assert "`proxies`" in str(error_from_status(407))


@pytest.mark.parametrize(
    ("words", "seconds"),
    [
        ("Limit 9, Used 9. Please try again in 1.2s. Visit https://a.example", 1.2),
        ("Please try again in 7m12.5s.", 432.5),
        ("Please try again in 20ms.", 0.02),
        ("Rate limit of 10 per 60s exceeded. Please wait 42 seconds before retrying.", 42.0),
        ("Please retry after 26 seconds.", 26.0),
        ("Try again in 1h 2 minutes", 3720.0),
        ("Please retry in 31.5s.", 31.5),
        ("Please try again in a while", None),
        ("Please try again later. In 5s more words", None),
    ],
)
def test_a_wait_in_words_counts_where_nothing_else_states_one(words, seconds):
    error = {"error": {"message": words, "code": "rate_limit_exceeded"}}
    assert error_from_status(200, {}, error).retry_after == (seconds and pytest.approx(seconds))
    assert error_from_status(429, {"Retry-After": "3"}, error).retry_after == 3.0
    assert error_from_status(500, {}, {"error": {"message": words}}).retry_after is None
