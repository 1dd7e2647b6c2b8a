"""The error tree: its shape, its built-in parents, and its pickles."""

import copy
import pickle

import pytest

import providerhub
from providerhub import (
    AllProvidersFailedError,
    Attempt,
    AuthenticationError,
    CallerError,
    Completion,
    DeadlineExceededError,
    PluginError,
    ProviderError,
    ProviderHubError,
    Route,
    ServerError,
    Skip,
    StreamInterruptedError,
)

CLASSES = sorted(
    (
        found
        for name in providerhub.__all__
        if isinstance(found := getattr(providerhub, name), type) and issubclass(found, ProviderHubError)
    ),
    key=lambda cls: cls.__name__,
)
CALLERS = {
    "InvalidRequestError",
    "ConfigurationError",
    "ModelNotFoundError",
    "NoCapableProviderError",
    "AmbiguousProviderError",
    "BudgetExceededError",
}
PROVIDERS = {
    "ProviderConnectionError",
    "ProviderTimeoutError",
    "TLSError",
    "RateLimitError",
    "QuotaExceededError",
    "ShortageError",
    "AuthenticationError",
    "ForbiddenError",
    "ServerError",
    "ModelUnavailableError",
    "BadRequestError",
    "ContextLengthError",
    "ContentPolicyError",
    "CapabilityError",
    "InvalidOutputError",
    "ProtocolError",
    "EmptyAnswerError",
}
PARENTS = {
    "InvalidRequestError": {ValueError},
    "ModelNotFoundError": {LookupError, ValueError},
    "ProviderConnectionError": {ConnectionError},
    "ProviderTimeoutError": {TimeoutError},
    "AuthenticationError": {PermissionError},
    "DeadlineExceededError": {TimeoutError},
}
ROUTE = Route(
    attempts=(Attempt(1, "acme", "m", outcome="error", error=ServerError("down", status=503), duration=0.5),),
    skipped=(Skip("beta", "m", "no stream", "declared so by the plugin"),),
    duration=1.5,
)


def test_every_class_is_exported_and_nothing_else():
    rest = {"ProviderHubError", "CallerError", "ProviderError", "PluginError", "StreamInterruptedError"}
    rest |= {"DeadlineExceededError", "AllProvidersFailedError"}
    assert {cls.__name__ for cls in CLASSES} == CALLERS | PROVIDERS | rest


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_each_class_hangs_on_its_branch(cls):
    assert issubclass(cls, CallerError) == (cls.__name__ in CALLERS | {"CallerError"})
    assert issubclass(cls, ProviderError) == (cls.__name__ in PROVIDERS | {"ProviderError"})


@pytest.mark.parametrize("name", sorted(PARENTS))
def test_builtin_parents_let_old_handlers_work(name):
    assert all(issubclass(getattr(providerhub, name), parent) for parent in PARENTS[name])


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_class_pickles_with_its_route(cls, protocol):
    error = cls("what happened")
    error.route = ROUTE
    again = pickle.loads(pickle.dumps(error, protocol))
    assert type(again) is cls
    assert again.args == error.args
    assert str(again) == str(error)
    assert str(again.route) == str(ROUTE)
    assert again.route.skipped == ROUTE.skipped
    assert again.route.attempts[0].error.status == 503


@pytest.mark.parametrize(
    "error",
    [
        AuthenticationError("no", provider="acme", model="m", status=401, retry_after=3.0, excerpt="{}"),
        ServerError("no", retryable=False, status=500),
        PluginError("no", plugin="acme", model="m"),
        StreamInterruptedError(
            "broke", partial="Hel", completion=Completion(text="Hel"), provider="acme", cause=ServerError("x")
        ),
        AllProvidersFailedError("2 attempts", attempts=ROUTE.attempts),
        DeadlineExceededError("late"),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("copied", [lambda e: pickle.loads(pickle.dumps(e)), copy.copy, copy.deepcopy])
def test_what_an_error_knows_survives_a_copy(error, copied):
    again = copied(error)
    shown = {key: repr(value) for key, value in vars(error).items()}
    assert {key: repr(value) for key, value in vars(again).items()} == shown


def test_an_excerpt_is_cut():
    assert len(ProviderError("x", excerpt="a" * 10_000).excerpt) == 500


def test_retryable_follows_the_class_unless_said():
    assert ServerError().retryable
    assert not ServerError(retryable=False).retryable
    assert not AuthenticationError().retryable
    assert AuthenticationError(retryable=True).retryable


def test_all_failed_prints_one_line_for_each_attempt():
    attempts = (
        Attempt(1, "acme", "m", outcome="error", error=ServerError("first\nsecond line"), duration=0.5),
        Attempt(2, "beta", "n", outcome="error", error=PluginError("odd"), waited=1.25),
    )
    lines = str(AllProvidersFailedError("2 attempts at 2 providers failed", attempts=attempts)).splitlines()
    assert len(lines) == 3
    assert lines[0] == "2 attempts at 2 providers failed"
    assert "acme/m" in lines[1]
    assert "ServerError: first" in lines[1]
    assert "second line" not in lines[1]
    assert "beta/n" in lines[2]
    assert "waited 1.2 s" in lines[2]


def test_a_plugin_error_can_be_asked_for_its_provider():
    assert PluginError("x", plugin="acme").provider == "acme"
