"""Observers and rankers that the application passes to its hub."""

import pytest

from providerhub import ConfigurationError, Hub, Settings, hookimpl

SETTINGS = Settings(autoload=False)


class Log:
    """Every hook of an observer, one of them without its argument."""

    def __init__(self):
        self.seen = []

    @hookimpl
    def providerhub_attempt_started(self, attempt):
        self.seen.append(("started", attempt.provider, attempt.outcome))

    @hookimpl
    def providerhub_attempt_finished(self, attempt):
        self.seen.append(("finished", attempt.provider, attempt.outcome))

    @hookimpl
    def providerhub_call_finished(self):
        self.seen.append(("call",))


def test_an_observer_is_called_for_each_attempt_and_call(scripted, make_hub):
    log = Log()
    make_hub(hub_options={"observers": [log]}, a=scripted([ConnectionError("x")]), b=scripted(["b"])).complete("m", "x")
    assert log.seen == [
        ("started", "a", "open"), ("finished", "a", "error"), ("started", "b", "open"), ("finished", "b", "ok"), ("call",),
    ]  # fmt: skip


def test_several_observers_are_called_and_one_that_raises_disturbs_neither_the_others_nor_the_call(scripted, make_hub):
    class Broken(Log):
        @hookimpl
        def providerhub_call_finished(self):
            raise ValueError("broken")

    first, second = Log(), Log()
    hub = make_hub(hub_options={"observers": [first, Broken(), second]}, a=scripted(["a"]))
    assert hub.complete("m", "x").text == "a"
    assert first.seen[-1] == second.seen[-1] == ("call",)


def test_a_ranker_chooses_the_order(scripted, make_hub):
    def last_first(request, candidates):
        assert request.messages[0]["content"] == "x"
        return candidates[::-1]

    hub = make_hub(hub_options={"rankers": [last_first]}, a=scripted(["a"]), b=scripted(["b"]))
    assert hub.complete("m", "x").text == "b"


def test_the_first_ranker_with_an_order_decides(scripted, make_hub):
    rankers = [
        lambda request, candidates: None,
        lambda request, candidates: candidates[1:],
        lambda request, candidates: candidates,
    ]
    hub = make_hub(hub_options={"rankers": rankers}, a=scripted(["a"]), b=scripted(["b"]))
    assert [candidate.provider for candidate in hub.explain("m", "x").candidates] == ["b"]


@pytest.mark.parametrize("order", ["ab", ["b"]])
def test_a_ranker_that_returns_none_of_the_candidates_is_logged_once(scripted, make_hub, caplog, order):
    hub = make_hub(hub_options={"rankers": [lambda request, candidates: order]}, a=scripted(["a"]), b=scripted(["b"]))
    assert [hub.complete("m", "x").text for _ in "xx"] == ["a", "a"]
    (record,) = caplog.records
    assert "it returned none of the candidates that it got, but str; return some of them, or None" in str(record.exc_info[1])


class Misspelt:
    @hookimpl
    def providerhub_call_ended(self, route):
        pass


class WrongArgument:
    @hookimpl
    def providerhub_call_finished(self, answer):
        pass


class Awaited:
    @hookimpl
    async def providerhub_call_finished(self, route):
        pass


class Iterated:
    @hookimpl
    async def providerhub_attempt_started(self, attempt):
        yield


@pytest.mark.parametrize(
    ("observer", "message"),
    [
        (print, "no function marked with @hookimpl"),
        (Misspelt(), "providerhub_call_ended"),
        (WrongArgument(), r"^observer WrongArgument cannot be used: .* has no argument 'answer'; it may take .*route.*$"),
        (Log, r"it is a class, so its methods would have no self; give an object: Log\(\)"),
        (Awaited(), "providerhub_call_finished is an async function, and nothing awaits a hook"),
        (Iterated(), "providerhub_attempt_started is an async function"),
    ],
)
def test_an_object_that_observes_nothing_is_refused(observer, message):
    with pytest.raises(ConfigurationError, match=message):
        Hub(SETTINGS, observers=[observer])


def test_an_observer_is_given_once():
    log = Log()
    with pytest.raises(ConfigurationError, match="it is given twice"):
        Hub(SETTINGS, observers=[log, log])


async def _awaited(request, candidates):
    return candidates


@pytest.mark.parametrize("ranker", [Log(), _awaited])
def test_a_ranker_that_cannot_be_called_is_refused(ranker):
    with pytest.raises(ConfigurationError, match="each of rankers must be a callable that is not async"):
        Hub(SETTINGS, rankers=[ranker])


@pytest.mark.parametrize("name", ["rankers", "observers", "providers"])
def test_what_is_no_list_is_refused(name):
    with pytest.raises(ConfigurationError, match=f"{name} must be a list, not int"):
        Hub(SETTINGS, **{name: 3})


@pytest.mark.parametrize("settings", [5, {"providers": {}}])
def test_settings_of_another_type_are_refused(settings):
    with pytest.raises(ConfigurationError, match="settings must be a Settings object"):
        Hub(settings)
