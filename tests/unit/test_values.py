"""Value classes: refused values, values that are never shown, and the representation."""

import pickle

import attrs
import pytest

from providerhub import (
    Attempt,
    BreakerRules,
    Candidate,
    Completion,
    ContentPolicyError,
    Model,
    ModelInfo,
    ProviderConfig,
    ProviderInfo,
    RetryPolicy,
    Route,
    RoutePlan,
    Secret,
    ServerError,
    Setting,
    Skip,
    Timeout,
    Usage,
)

CANARY = "sk-canary-1234567890"


@pytest.mark.parametrize("field", ["connect", "first_token", "head", "byte_idle", "token_idle", "total"])
@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), "5", True])
def test_a_timeout_refuses_values_that_are_no_positive_seconds(field, value):
    with pytest.raises(ValueError, match=field):
        Timeout(**{field: value})


def test_only_two_phases_may_be_without_a_time():
    timeout = Timeout(first_token=None, head=None)
    assert (timeout.first_token, timeout.head) == (None, None)
    for field in ("connect", "byte_idle", "token_idle", "total"):
        with pytest.raises(ValueError, match=field):
            Timeout(**{field: None})


@pytest.mark.parametrize("value", [0.001, 5, 1e6])
def test_a_timeout_takes_positive_seconds(value):
    assert Timeout(total=value).total == value


@pytest.mark.parametrize("field", ["attempts", "attempts_per_provider"])
@pytest.mark.parametrize("value", [0, -1, 1.5, True, "2", None])
def test_a_retry_policy_refuses_bad_counts(field, value):
    with pytest.raises(ValueError, match=field):
        RetryPolicy(**{field: value})


SECONDS_OF_A_RETRY = ["backoff", "backoff_max", "throttle_backoff", "retry_after_max", "pause_max", "patience", "beside_after"]


@pytest.mark.parametrize("field", SECONDS_OF_A_RETRY)
@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf"), True, "2"])
def test_a_retry_policy_refuses_bad_seconds(field, value):
    with pytest.raises(ValueError, match=field):
        RetryPolicy(**{field: value})


@pytest.mark.parametrize("field", SECONDS_OF_A_RETRY)
def test_two_knobs_of_a_retry_policy_may_be_none(field):
    if field in {"retry_after_max", "beside_after"}:
        assert getattr(RetryPolicy(**{field: None}), field) is None
        return
    with pytest.raises(ValueError, match=field):
        RetryPolicy(**{field: None})


@pytest.mark.parametrize("value", [None, [1], ContentPolicyError, ("ContentPolicyError",), (1,), (int,)])
def test_a_retry_policy_goes_on_after_classes_of_errors_only(value):
    with pytest.raises(ValueError, match="also_on must be a tuple or list of exception classes"):
        RetryPolicy(also_on=value)
    for classes in ((ContentPolicyError,), [ContentPolicyError]):
        assert RetryPolicy(also_on=classes).also_on == (ContentPolicyError,)


@pytest.mark.parametrize("field", ["open_most_slow", "stall"])
@pytest.mark.parametrize("value", [0, -1, float("nan"), "5", True, None])
def test_the_rules_of_a_breaker_refuse_bad_seconds(field, value):
    with pytest.raises(ValueError, match=field):
        BreakerRules(**{field: value})


def test_the_documented_defaults():
    timeout, retry, breaker = Timeout(), RetryPolicy(), BreakerRules()
    assert (timeout.connect, timeout.first_token, timeout.head) == (5, None, None)
    assert (timeout.byte_idle, timeout.token_idle, timeout.total) == (60, 120, 600)
    assert (retry.attempts, retry.attempts_per_provider, retry.backoff, retry.backoff_max) == (4, 2, 0.5, 8)
    assert (retry.throttle_backoff, retry.retry_after_max, retry.pause_max) == (1, None, 600)
    assert (retry.patience, retry.beside, retry.beside_after, retry.also_on) == (2.5, True, None, ())
    assert (breaker.open_first, breaker.open_most, breaker.open_most_slow, breaker.stall) == (5, 20, 300, 10)


def test_values_are_frozen():
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        Timeout().total = 1


def test_a_secret_never_shows_itself():
    secret = Secret(CANARY)
    config = ProviderConfig(name="acme", api_key=CANARY, options={"token": secret})
    for shown in (repr(secret), str(secret), f"{secret}", f"{secret!r}", repr(config), str(config), f"{config.options}"):
        assert CANARY not in shown
    assert secret.reveal() == CANARY
    assert config.api_key == secret
    assert hash(config.api_key) == hash(secret)
    assert secret != CANARY
    assert Secret(CANARY) != Secret("other")
    assert not Secret("")


def test_a_config_is_asked_by_setting_name():
    config = ProviderConfig(url="http://x", options={"region": "eu"})
    assert (config.get("url"), config.get("region"), config.get("api_key"), config.get("other")) == ("http://x", "eu", None, None)


def test_a_completion_is_its_text():
    assert str(Completion(text="Hello")) == "Hello"
    assert str(Completion()) == ""


def test_total_tokens_needs_both_counts():
    assert Usage(input_tokens=2, output_tokens=3).total_tokens == 5
    assert Usage(input_tokens=2).total_tokens is None


def test_values_print_as_what_a_person_would_write():
    assert str(Model("meta/x", "acme")) == "acme/meta/x"
    assert str(Model("meta/x")) == "meta/x"
    assert str(Skip("acme", "m", "no stream", "declared so")) == "acme/m: no stream (declared so)"
    assert str(Skip("acme", "", "broken")) == "acme: broken"
    plan = RoutePlan((Candidate("acme", "m", "m"), Candidate("beta", "m", "m")), (Skip("c", "m", "no stream"),))
    assert str(plan).splitlines() == ["1. acme/m", "2. beta/m", "-  c/m: no stream"]
    route = Route((Attempt(1, "acme", "m", outcome="ok", duration=0.5),), (Skip("c", "m", "no stream"),))
    assert str(route).splitlines() == ["1. acme/m: ok after 0.500 s", "-  c/m: no stream"]
    last = Attempt(2, "acme", "m", outcome="error", duration=0.5, error=ServerError("acme/m: HTTP 500"))
    assert str(last) == "2. acme/m: error after 0.500 s: ServerError: HTTP 500"


def test_routes_and_completions_pickle():
    completion = Completion(text="x", route=Route((Attempt(1, "acme", "m"),), (Skip("c", "m", "no stream"),), 1.0))
    assert pickle.loads(pickle.dumps(completion)) == completion


@pytest.mark.parametrize("name", ["", " ", None, "a/b"])
def test_a_provider_needs_a_name_that_can_be_written(name):
    with pytest.raises(ValueError, match="name"):
        ProviderInfo(name=name)


def test_models_may_be_plain_names_but_not_one_text():
    assert ProviderInfo(name="acme", models=("a", ModelInfo("b/*"))).models == (ModelInfo("a"), ModelInfo("b/*"))
    with pytest.raises(ValueError, match="models must be a list of names and ModelInfo, not 'abc'"):
        ProviderInfo(name="acme", models="abc")
    with pytest.raises(ValueError, match=r"models must be a list of names and ModelInfo, not \(3,\)"):
        ProviderInfo(name="acme", models=(3,))


def test_needs_auth_makes_the_key_required_and_secret():
    (key,) = ProviderInfo(name="my-acme", needs_auth=True).all_settings
    assert (key.name, key.env, key.required, key.secret) == ("api_key", "MY_ACME_API_KEY", True, True)
    own = ProviderInfo(name="acme", needs_auth=True, settings=(Setting("api_key", env="OWN"), Setting("url")))
    assert {s.name: (s.env, s.required) for s in own.all_settings} == {"url": (None, False), "api_key": ("OWN", True)}
    assert ProviderInfo(name="acme").all_settings == ()


@pytest.mark.parametrize(
    ("value", "name", "said"),
    [
        (Completion("x"), "choices", "'Completion' object has no attribute 'choices'; did you mean 'text'?"),
        (Completion("x"), "content", "'Completion' object has no attribute 'content'; did you mean 'text'?"),
        (Usage(1, 2), "prompt_tokens", "'Usage' object has no attribute 'prompt_tokens'; did you mean 'input_tokens'?"),
        (Usage(1, 2), "content", "'Usage' object has no attribute 'content'"),
        (Usage(1, 2), "x", "'Usage' object has no attribute 'x'"),
    ],
)
def test_a_field_under_its_name_in_other_libraries_is_named(value, name, said):
    with pytest.raises(AttributeError) as raised:
        getattr(value, name)
    assert (str(raised.value), raised.value.name, raised.value.obj) == (said, name, value)
