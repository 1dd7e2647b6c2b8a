"""The I/O before a plan: lists of models, keys, imports. It blocks no event loop, and ends before the call's deadline."""

import asyncio
import base64
import contextlib
import gc
import json
import os
import socket
import stat
import sys
import threading
import time
import types
import weakref

import pytest

from providerhub import (
    AuthenticationError,
    CallerError,
    Finish,
    ForbiddenError,
    Hub,
    ModelInfo,
    ModelNotFoundError,
    PluginError,
    ProviderConfig,
    ProviderConnectionError,
    ProviderError,
    ProviderInfo,
    ProviderTimeoutError,
    RetryPolicy,
    Secret,
    ServerError,
    Settings,
)
from providerhub._finding import instance as instances
from providerhub._finding import jobs, kept_lists, preparing
from providerhub._finding.instance import Instance
from providerhub._finding.jobs import Job, Task, arun_all, run_all
from providerhub._finding.listing import TIMEOUT
from providerhub._settings.secrets import CommandKey
from providerhub.testing import FakeClock
from providerhub_conformance import Close, FaultServer, Hold, http_response, openai_completion

CANARY = "sk-canary-0123456789"
NO_WAIT = RetryPolicy(backoff=0, throttle_backoff=0)


@pytest.fixture(autouse=True)
def _no_key(monkeypatch):
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def serve():
    """`serve("m", "n")`: a service that lists these models; `serve(None)`: one that never answers its list."""
    servers = []

    def begin(*models):
        def script(request):
            if not request.target.endswith("/models"):
                return (http_response(200, openai_completion("fine")),)
            if begin.down:
                return (http_response(500, {"error": {"message": "down"}}),)
            if models == (None,):
                return (Hold(),)
            return (http_response(200, {"data": [{"id": name} for name in begin.names or models]}),)

        server = FaultServer(script, repeat=True).__enter__()
        servers.append(server)
        return server

    begin.down, begin.names = False, ()
    yield begin
    for server in servers:
        server.__exit__(None, None, None)


@pytest.fixture
def make_hub():
    """`make_hub(a=server, b=ProviderConfig(...))`: instances of the plugin `openai`."""
    hubs = []

    def make(clock=None, aliases=None, **providers):
        configs = {
            name: ProviderConfig(plugin="openai", url=one.url) if isinstance(one, FaultServer) else one
            for name, one in providers.items()
        }
        settings = Settings(providers=configs, allow={"openai"}, aliases=aliases or {}, retry=NO_WAIT)
        hubs.append(Hub(settings, clock=clock))
        return hubs[-1]

    yield make
    for hub in hubs:
        hub.close()


def _lists(server):
    return sum(request.target.endswith("/models") for request in server.requests)


def _config(server, *models):
    return ProviderConfig(plugin="openai", url=server.url, models=models)


def _ask(hub, way, *args, **knobs):
    return hub.complete(*args, **knobs) if way == "complete" else asyncio.run(hub.acomplete(*args, **knobs))


WAYS = pytest.mark.parametrize("way", ["complete", "acomplete"])


# --- lists ------------------------------------------------------------------------------------------------------------


@WAYS
@pytest.mark.parametrize("name", ["m", "a/m", ["m", "b/n"]])
def test_fault_70_a_declared_name_waits_for_no_list(serve, make_hub, way, name):
    silent = serve(None)
    hub = make_hub(a=_config(serve(), "m"), b=_config(silent, "n"), c=silent)
    assert _ask(hub, way, name, "Hello").text == "fine"
    assert _lists(silent) == 0


@WAYS
def test_fault_70_a_listed_name_waits_for_no_other_list(serve, make_hub, way):
    silent = serve(None)
    hub = make_hub(a=serve("m"), b=silent, c=silent)
    assert _ask(hub, way, "m", "Hello").provider == "a"


@WAYS
def test_fault_70_a_name_that_only_a_silent_list_may_have_ends_inside_the_deadline(serve, make_hub, way):
    hub = make_hub(quick=serve("m"), silent=serve(None))
    with pytest.raises(ProviderTimeoutError, match=r"silent could not list its models: .* has not returned"):
        _ask(hub, way, "absent", "Hello", timeout=1)


@WAYS
def test_fault_70_a_list_that_is_refused_names_the_reason(serve, make_hub, way):
    serve.down = True
    with pytest.raises(ServerError, match=r"a could not list its models: .*HTTP 500") as caught:
        _ask(make_hub(a=serve()), way, "m", "Hello")
    assert (caught.value.provider, caught.value.retryable, caught.value.retry_after) == ("a", True, 60.0)


@WAYS
def test_a_service_that_is_down_at_its_first_use_is_no_misspelt_model(make_hub, way):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with pytest.raises(ProviderConnectionError, match=r"a could not list its models: .*ProviderConnectionError") as caught:
        _ask(make_hub(a=ProviderConfig(plugin="openai", url=url, api_key=CANARY)), way, "m", "Hello")
    assert isinstance(caught.value.__cause__, ProviderConnectionError)
    assert not isinstance(caught.value, CallerError)


def test_a_discover_function_that_is_wrong_is_the_plugins_mistake(lister):
    def discover(config):
        raise ZeroDivisionError

    with pytest.raises(PluginError, match=r"p could not list its models: .*ZeroDivisionError"):
        lister(discover).complete("late", "Hello")


@pytest.fixture
def openai(monkeypatch):
    """`openai(answer)`: a service, set by the variables, that answers a chat, and its list of models by `answer()`."""
    with contextlib.ExitStack() as stack:

        def begin(answer):
            chat = (http_response(200, openai_completion("fine")),)
            script = lambda request: (answer(),) if request.target.endswith("/models") else chat  # noqa: E731
            server = stack.enter_context(FaultServer(script, repeat=True))
            monkeypatch.setenv("OPENAI_BASE_URL", server.url)
            return server

        yield begin


@WAYS
@pytest.mark.parametrize("status", [401, 403, 429, 500])
def test_a_vendor_that_refuses_its_list_is_asked_for_its_own_models(openai, make_hub, way, status):
    server = openai(lambda: http_response(status, {"error": {"message": "no list for this key"}}))
    hub = make_hub()
    for _ in range(2):
        assert _ask(hub, way, ["gpt-4o", "other"], "Hello").provider == "openai"
    assert _lists(server) == 1
    with pytest.raises(ProviderError, match=f"openai could not list its models: .*HTTP {status}"):  # of another vendor
        hub.complete("other", "Hello")


def test_a_list_that_comes_after_failures_counts(openai, make_hub):
    answers, clock = [http_response(403, {}), http_response(200, {"data": [{"id": "gpt-4o", "context_length": 10}]})], FakeClock()
    hub = make_hub(clock)
    server = openai(lambda: answers[0])
    hub.complete(["gpt-4o", "gpt-4"], "Hello")
    assert [(str(one), one.match) for one in hub.explain("gpt-4o").candidates] == [("openai/gpt-4o", "any")]
    answers.reverse()
    clock.advance(60)
    hub.complete("gpt-4o", "Hello")
    hub.refresh()  # waits for the listing under way, or begins another one
    assert [(one.match, one.context_window) for one in hub.explain("gpt-4o").candidates] == [("exact", 10)]
    assert _lists(server) >= 2


@WAYS
def test_a_vendor_whose_list_hangs_is_asked_after_a_share_of_the_time(openai, make_hub, way, caplog):
    openai(Hold)
    hub = make_hub()
    for _ in range(2):
        assert _ask(hub, way, "gpt-4o", "Hello", timeout=1).text == "fine"
    assert [record.getMessage() for record in caplog.records if "has not listed its models for" in record.getMessage()][1:] == []
    assert "provider openai has not listed its models for 0." in caplog.text


def test_the_error_begins_with_the_list_that_failed_and_names_its_setting(openai, make_hub):
    server = openai(lambda: http_response(403, {"error": {"message": "no list for this key"}}))
    with pytest.raises(ForbiddenError) as caught:
        make_hub().complete("my-tune", "Hello")
    said = str(caught.value)
    assert said.startswith("openai could not list its models: ForbiddenError: HTTP 403: no list for this key")
    assert " (its url is set by OPENAI_BASE_URL or under [providers.openai])" in said
    assert server.url not in said  # an address may hold a password
    assert said.endswith("""for the model 'my-tune' call openai/my-tune, or set models = ["my-tune"] under [providers.openai]""")


@WAYS
def test_a_vendor_that_cannot_be_reached_is_named_with_the_setting_of_its_address(make_hub, way, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{listener.getsockname()[1]}")
    with pytest.raises(ProviderConnectionError) as caught:
        _ask(make_hub(), way, "gpt-4o", "Hello")
    assert str(caught.value).startswith("openai/gpt-4o: cannot connect to 127.0.0.1:")
    assert str(caught.value).endswith(": Connection refused (its url is set by OPENAI_BASE_URL or under [providers.openai])")
    assert caught.value.may_be_address


@WAYS
def test_an_address_that_takes_connections_is_not_named(make_hub, way, monkeypatch):
    with FaultServer(lambda _: (Close(),), repeat=True) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        with pytest.raises(ProviderConnectionError) as caught:
            _ask(make_hub(), way, "gpt-4o", "Hello", retry=RetryPolicy(attempts=1))
    assert "its url is set by" not in str(caught.value)
    assert not caught.value.may_be_address


@WAYS
def test_the_route_and_the_log_have_the_models_of_a_sequence_that_are_unknown(serve, make_hub, way, caplog):
    hub = make_hub(a=serve("m"), b=serve("n"))
    for _ in range(2):
        answer = _ask(hub, way, ["mm", "m"], "Hello")
        skip = answer.route.skipped[0]
        assert (skip.provider, skip.model, skip.reason) == ("", "mm", "unknown model")
        assert "\n-  mm: unknown model (" in str(answer.route)
    assert hub.explain(["mm", "m"]).skipped[0] == skip
    assert caplog.text.count("the model mm: unknown model (") == 1


def test_the_route_says_which_list_failed(serve, make_hub):
    hub = make_hub(a=_config(serve(), "m"), b=serve(), c=serve(None))
    serve.down = True
    skip = hub.complete(["late", "m"], "Hello", timeout=2).route.skipped[0]
    assert "b could not list its models: ServerError: HTTP 500" in skip.detail


def test_each_model_of_a_sequence_has_its_own_variable_in_the_error(make_hub):
    with pytest.raises(ModelNotFoundError) as caught:
        make_hub().complete(["gpt-4o", "claude-9"], "Hello")
    assert "set OPENAI_API_KEY" in str(caught.value).splitlines()[0]
    assert str(caught.value).splitlines()[1].startswith("no provider has the model 'claude-9'; anthropic is blocked: ")


def test_fault_70_an_empty_list_is_no_failure(serve, make_hub):
    hub = make_hub(a=serve())
    with pytest.raises(ModelNotFoundError) as caught:
        hub.complete("m", "Hello")
    assert "could not" not in str(caught.value)


@WAYS
def test_a_pinned_name_asks_for_no_list(serve, make_hub, way):
    silent = serve(None)
    assert _ask(make_hub(a=silent), way, "a/m", "Hello").text == "fine"
    assert _lists(silent) == 0


def test_the_first_choice_is_asked_for_although_a_later_one_is_known(serve, make_hub):
    hub = make_hub(a=_config(serve(), "lesser"), b=serve("liked"))
    assert hub.complete(["liked", "lesser"], "Hello").provider == "b"
    assert [str(c) for c in hub.explain(["lesser", "liked"]).candidates] == ["a/lesser", "b/liked"]


def test_a_silent_list_of_the_first_choice_leaves_time_for_the_known_one(serve, make_hub):
    hub = make_hub(a=_config(serve(), "lesser"), b=serve(None))
    assert hub.complete(["liked", "lesser"], "Hello", timeout=1).provider == "a"


def test_a_silent_list_of_a_later_choice_delays_few_calls_and_little(serve, make_hub, monkeypatch):
    monkeypatch.setattr(preparing, "LATER_MOST", 0.2)
    silent = serve(None)
    hub = make_hub(a=_config(serve(), "m"), b=silent)
    for _ in range(3):
        assert hub.complete(["m", "later", "latest"], "Hello").provider == "a"
    assert _lists(silent) == 1


def test_a_list_that_could_not_be_fetched_is_tried_again_after_a_while(serve, make_hub):
    server, clock = serve("m"), FakeClock()
    hub = make_hub(clock, a=server)
    serve.down = True
    for asked, seconds in ((1, 59), (1, 1), (2, 119), (2, 1)):
        with pytest.raises(ServerError):
            hub.complete("m", "Hello")
        assert _lists(server) == asked
        clock.advance(seconds)
    serve.down = False
    assert hub.complete("m", "Hello").text == "fine"


def test_a_name_found_nowhere_renews_the_lists_at_most_once_a_minute(serve, make_hub):
    server, clock = serve("m"), FakeClock()
    hub = make_hub(clock, a=server)
    hub.complete("m", "Hello")
    for _ in range(3):
        with pytest.raises(ModelNotFoundError):
            hub.complete("new", "Hello")
    assert _lists(server) == 1
    serve.names = ("m", "new")
    clock.advance(60)
    assert hub.complete("new", "Hello").text == "fine"
    assert _lists(server) == 2


def test_an_old_list_of_a_service_on_this_machine_is_renewed_beside_the_call(serve, make_hub):
    server, clock = serve("m"), FakeClock()
    hub = make_hub(clock, a=server)
    hub.complete("m", "Hello")
    clock.advance(59)
    hub.complete("m", "Hello")
    assert _lists(server) == 1
    serve.names = ("m", "new")
    clock.advance(1)
    hub.complete("m", "Hello")
    hub.refresh()  # waits for the listing under way, or begins another one
    assert _lists(server) >= 2
    assert [str(c) for c in hub.explain("new").candidates] == ["a/new"]


def test_explain_sends_nothing_and_says_which_lists_are_missing(serve, make_hub):
    server = serve("m")
    hub = make_hub(a=server)
    with pytest.raises(ModelNotFoundError, match="a has not listed its models yet"):
        hub.explain("m")
    assert server.connected == 0
    hub.complete("m", "Hello")
    before = server.served
    assert [str(candidate) for candidate in hub.explain("m").candidates] == ["a/m"]
    assert server.served == before


def test_many_calls_at_once_share_one_listing(serve, make_hub):
    server = serve("m")
    hub = make_hub(a=server)
    outcomes = list(hub.complete_many([{"model": "m", "messages": "Hello"}] * 20, concurrency=20))
    assert all(outcome.error is None for outcome in outcomes)
    assert _lists(server) == 1


def test_closing_the_hub_ends_a_listing(serve, make_hub):
    server = serve(None)
    hub = make_hub(a=server)
    with pytest.raises(ProviderTimeoutError):
        hub.complete("m", "Hello", timeout=0.2)
    hub.close()
    server.client_gone()


# --- functions `discover` -----------------------------------------------------------------------------------------------


class Fine:
    def stream(self, request, call):
        yield "fine"
        yield Finish("stop")


@pytest.fixture
def lister(monkeypatch):
    """`lister(function)`: a hub with a registered provider `p` whose `discover` is this function."""

    def make(discover, **options):
        module = types.ModuleType("listing_module")
        module.discover = discover
        monkeypatch.setitem(sys.modules, "listing_module", module)
        info = ProviderInfo(name="p", models=(ModelInfo("declared"),), discover="listing_module:discover")
        return Hub(Settings(autoload=False), providers=[(info, Fine())], **options)

    return make


def test_the_event_loop_goes_on_while_a_service_lists_its_models(lister):
    may_go_on = threading.Event()

    def discover(config):
        assert may_go_on.wait(60)  # the event loop sets it
        return ["late"]

    async def main():
        call = asyncio.create_task(lister(discover).acomplete("late", "Hello"))
        await asyncio.sleep(0)
        may_go_on.set()
        return await call

    assert asyncio.run(main()).text == "fine"


@WAYS
def test_a_service_that_lists_no_models_is_named_for_a_model_that_no_provider_has(lister, way):
    hub = lister(lambda config: [])
    hub.register(ProviderInfo(name="local", discover="listing_module:discover"), Fine())
    with pytest.raises(ModelNotFoundError, match="local lists no models: check that its server runs and has some"):
        _ask(hub, way, "unknown", "Hello")


@WAYS
def test_a_discover_function_without_deadline_does_not_outlast_the_call(lister, way):
    may_end = threading.Event()
    with pytest.raises(ProviderTimeoutError, match="p could not list its models"):
        _ask(lister(lambda config: may_end.wait() and []), way, "late", "Hello", timeout=0.3)
    may_end.set()


@WAYS
def test_a_function_that_never_returns_delays_the_first_calls_alone(lister, way, monkeypatch):
    monkeypatch.setattr(preparing, "LISTED_MOST", 0.3)
    may_end = threading.Event()
    hub = lister(lambda config: may_end.wait() and [])
    waits = []
    monkeypatch.setattr(jobs._Wait, "__init__", _noting(jobs._Wait.__init__, waits))
    for _ in range(3):
        with pytest.raises(ProviderTimeoutError, match="has not returned for"):
            _ask(hub, way, "late", "Hello")
    may_end.set()
    # The time counts from the start of the function's thread, which is after the start of the first call's wait.
    assert 0 <= waits[1] <= waits[0] <= 0.3
    assert waits[0] > 0
    assert waits[2] == pytest.approx(0, abs=1e-6)


def _noting(init, waits):
    def noted(self, found, seconds):
        waits.append(max(job.longest for job in found))
        init(self, found, seconds)

    return noted


def test_a_late_list_serves_later_calls(lister):
    may_end = threading.Event()
    hub = lister(lambda config: may_end.wait() and ["late"])
    with pytest.raises(ProviderTimeoutError):
        hub.complete("late", "Hello", timeout=0.2)
    may_end.set()
    assert hub.complete("late", "Hello").text == "fine"


def test_a_discover_function_that_takes_the_context_gets_it(lister):
    seen = []
    hub = lister(lambda config, call: seen.append(call) or ["late"])
    assert hub.complete("late", "Hello").text == "fine"
    assert seen[0].timeout == TIMEOUT


def test_a_discover_function_may_use_the_hub(lister):
    def discover(config):
        with pytest.raises(ProviderTimeoutError):
            hub.complete("late", "Hello")
        return [hub.complete("declared", "Hello").text]

    hub = lister(discover)
    assert hub.complete("fine", "Hello").text == "fine"


def test_without_a_thread_the_caller_lists_the_models_itself(lister, monkeypatch):
    def refuse(thread):
        raise RuntimeError("can't start new thread")

    hub = lister(lambda config: ["late"])
    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert hub.complete("late", "Hello").text == "fine"


def test_without_a_thread_a_task_under_asyncio_waits_for_one(monkeypatch):
    start, refused = threading.Thread.start, []

    def hesitate(thread):
        if not refused:
            refused.append(thread)
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", hesitate)
    done = []
    asyncio.run(arun_all([Job(Task("work", lambda: done.append(1)))], 10))
    assert (len(refused), done) == (1, [1])


def test_a_task_that_has_ended_is_not_done_again():
    done = []
    task = Task("work", lambda: done.append(1))
    task.run()
    task.run()
    assert task.start()
    assert done == [1]


def test_a_function_without_a_signature_gets_the_configuration_alone(lister):
    class Odd:
        __signature__ = "none"

        def __call__(self, config):
            return ["late"]

    assert lister(Odd()).complete("late", "Hello").text == "fine"


def test_an_exception_of_a_task_is_logged_and_an_interruption_raised(caplog):
    run_all([Job(Task("fail", lambda: 1 / 0))], 10)
    assert "could not fail" in caplog.text

    def interrupt():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_all([Job(Task("stop", interrupt))], 10)


# --- kept lists ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def kept(tmp_path):
    """The folder of the kept lists."""
    return tmp_path / "cache" / "models"


def _files(folder):
    return sorted(folder.glob("*.json"))


def test_a_list_is_kept_for_the_next_process(serve, make_hub, kept):
    server = serve("m")
    make_hub(a=server).complete("m", "Hello")
    hub = make_hub(a=server)
    assert [str(c) for c in hub.explain("m").candidates] == ["a/m"]
    assert hub.complete("m", "Hello").text == "fine"
    assert _lists(server) == 1
    assert hub.instances()[0].list_age < 60


def test_a_kept_list_holds_no_key_and_is_for_this_user_alone(serve, make_hub, kept):
    server = serve("m")
    make_hub(a=ProviderConfig(plugin="openai", url=server.url, api_key=CANARY)).complete("m", "Hello")
    (file,) = _files(kept)
    content = file.read_text() + file.name + (kept / "salt").read_bytes().hex()
    assert CANARY not in content
    assert server.url not in content
    if os.name == "posix":
        assert {stat.S_IMODE(path.stat().st_mode) for path in kept.iterdir()} == {0o600}
    assert len(list(kept.iterdir())) == 2


def test_another_key_or_address_has_a_list_of_its_own(serve, make_hub, kept):
    server, other = serve("m"), serve("n")
    make_hub(a=ProviderConfig(plugin="openai", url=server.url, api_key=CANARY)).complete("m", "Hello")
    for one in (server, ProviderConfig(plugin="openai", url=server.url, api_key="other"), other):
        with pytest.raises(ModelNotFoundError):
            make_hub(a=one).explain("m")
    assert make_hub(b=ProviderConfig(plugin="openai", url=server.url, api_key=CANARY)).explain("m").candidates


def test_a_key_that_a_command_prints_is_not_read_for_its_list(serve, make_hub, kept):
    class Source:
        __slots__ = ("asked",)

        def __init__(self):
            self.asked = 0

        def read(self):
            raise AssertionError("read for a plan")

    server = serve("m")
    hub = make_hub(a=ProviderConfig(plugin="openai", url=server.url, api_key=Secret.later(Source())))
    with pytest.raises(ModelNotFoundError, match="has not listed"):
        hub.explain("m")


def test_an_old_list_is_used_while_the_service_is_down(serve, make_hub, kept):
    server = serve("m")
    make_hub(a=server).complete("m", "Hello")
    (file,) = _files(kept)
    file.write_text(json.dumps({**json.loads(file.read_text()), "listed_at": time.time() - 3 * 86400}))
    serve.down = True
    hub = make_hub(a=server)
    assert hub.complete("m", "Hello").text == "fine"
    assert hub.refresh() is False
    view = hub.instances()[0]
    assert [model.name for model in view.models] == ["m"]
    assert any("3 days old" in note for note in view.notes)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b"\xff", b'{"format": 2, "listed_at": 1, "models": []}',
     b'{"format": 1, "listed_at": 1e300, "models": []}', b'{"format": 1, "listed_at": 1, "models": [{"name": ""}]}',
     b'{"format": 1, "listed_at": 1, "models": [{"name": "m", "later": 1}]}', b"[" * 100_000],
)  # fmt: skip
def test_a_damaged_file_is_ignored_and_written_anew(serve, make_hub, kept, content):
    server = serve("m")
    make_hub(a=server).complete("m", "Hello")
    (file,) = _files(kept)
    file.write_bytes(content)
    assert make_hub(a=server).complete("m", "Hello").text == "fine"
    assert _lists(server) == 2
    assert json.loads(file.read_text())["models"] == [{"name": "m", "supports_stream": True}]


@pytest.mark.skipif(os.name != "posix", reason="Windows has no such modes")
def test_a_file_that_others_may_write_is_ignored(serve, make_hub, kept):
    server = serve("m")
    make_hub(a=server).complete("m", "Hello")
    _files(kept)[0].chmod(0o666)
    with pytest.raises(ModelNotFoundError):
        make_hub(a=server).explain("m")


def test_a_damaged_salt_is_made_anew(serve, make_hub, kept):
    server = serve("m")
    make_hub(a=server).complete("m", "Hello")
    (kept / "salt").write_bytes(b"short")
    for _ in range(2):
        assert make_hub(a=server).complete("m", "Hello").text == "fine"
    assert _lists(server) == 2


def test_a_disk_that_cannot_be_written_is_no_error(serve, make_hub, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("PROVIDERHUB_CACHE_DIR", str(tmp_path / "file"))
    assert make_hub(a=serve("m")).complete("m", "Hello").text == "fine"


def test_without_a_home_no_list_is_kept(serve, make_hub, monkeypatch):
    monkeypatch.delenv("PROVIDERHUB_CACHE_DIR")
    monkeypatch.setattr(kept_lists, "user_folder", lambda kind: f"~/.{kind}/providerhub")
    server = serve("m")
    for asked in (1, 2):
        assert make_hub(a=server).complete("m", "Hello").text == "fine"
        assert _lists(server) == asked


def test_a_list_that_is_too_long_is_ignored(serve, make_hub, kept, monkeypatch):
    server = serve("m")
    make_hub(a=server).complete("m", "Hello")
    monkeypatch.setattr(kept_lists, "SIZE_LIMIT", 10)
    with pytest.raises(ModelNotFoundError):
        make_hub(a=server).explain("m")


class Unknown:
    def read(self):
        return "key"


@pytest.mark.parametrize(
    ("config", "is_kept"),
    [
        (ProviderConfig(), False),
        (ProviderConfig(url="http://x", api_key=Secret.later(Unknown())), False),
        (ProviderConfig(url="http://x", options={"password": Secret.later(Unknown())}), False),
        (ProviderConfig(url="http://x", api_key=Secret.later(CommandKey(("pass", "show", "x")))), True),
        (ProviderConfig(url="http://x", options={"password": Secret("x"), "project": "p"}), True),
    ],
)
def test_only_a_list_with_an_address_and_a_known_key_is_kept(kept, config, is_kept):
    info = ProviderInfo(name="acme", discover="acme:discover")
    list_ = kept_lists.KeptList((ModelInfo("m", aliases=("n",), context_window=5),), time.time())
    kept_lists.write(config, info, list_)
    assert (kept_lists.read(config, info) == list_) is is_kept


def test_vendors_that_share_a_function_have_lists_of_their_own(kept):
    """Each vendor of a gateway reads the prices and abilities of one list in its own way."""
    config, list_ = ProviderConfig(url="http://x"), kept_lists.KeptList((ModelInfo("m"),), time.time())
    kept_lists.write(config, ProviderInfo(name="one", discover="shared:models"), list_)
    assert kept_lists.read(config, ProviderInfo(name="one", discover="shared:models")) == list_
    assert kept_lists.read(config, ProviderInfo(name="two", discover="shared:models")) is None


def test_a_model_with_a_value_that_is_not_plain_is_not_kept(kept):
    info = ProviderInfo(name="acme", discover="acme:discover")
    model = ModelInfo("m")
    object.__setattr__(model, "price_in", Secret(CANARY))
    kept_lists.write(ProviderConfig(url="http://x"), info, kept_lists.KeptList((model,), time.time()))
    assert not kept.exists()


def test_a_failing_write_leaves_no_file_behind(serve, make_hub, kept, monkeypatch):
    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    assert make_hub(a=serve("m")).complete("m", "Hello").text == "fine"
    assert list(kept.iterdir()) == []


def test_a_relative_folder_is_refused(serve, make_hub, monkeypatch):
    monkeypatch.setenv("PROVIDERHUB_CACHE_DIR", "here")
    with pytest.raises(Exception, match="PROVIDERHUB_CACHE_DIR must be an absolute path, not 'here'"):
        make_hub(a=serve("m")).explain("m")


def test_by_default_the_lists_are_in_the_users_cache_folder(serve, make_hub, tmp_path, monkeypatch):
    monkeypatch.delenv("PROVIDERHUB_CACHE_DIR")
    for name in ("HOME", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    make_hub(a=serve("m")).complete("m", "Hello")
    assert list((tmp_path / "home").rglob("salt"))


# --- keys ---------------------------------------------------------------------------------------------------------------


class Source:
    """A key source that gives one key after the other."""

    __slots__ = ("gate", "keys")

    def __init__(self, *keys, gate=None):
        self.keys, self.gate = list(keys), gate

    def read(self):
        assert self.gate is None or self.gate.wait(60)
        return self.keys.pop(0) if len(self.keys) > 1 else self.keys[0]


class Keyed:
    """A provider that refuses every key but one."""

    def __init__(self, name, config, good):
        self.name, self.config, self.good = name, config, good

    def stream(self, request, call):
        if self.config.api_key.reveal() != self.good:
            raise AuthenticationError("no", status=401)
        yield "fine"
        yield Finish("stop")


def _keyed(source, *names):
    config = ProviderConfig(api_key=Secret.later(source))
    hub = Hub(Settings(autoload=False, retry=NO_WAIT))
    for name in names:
        info = ProviderInfo(name=name, models=("m",), needs_auth=True)
        hub.register(info, Keyed(name, config, "good" if name == "a" else "first"), config=config)
    return hub


@WAYS
def test_a_refused_key_is_read_again_and_the_new_one_is_used_in_the_same_call(way):
    answer = _ask(_keyed(Source("bad", "good"), "a"), way, "m", "Hello")
    assert [attempt.outcome for attempt in answer.route.attempts] == ["error", "ok"]


@pytest.fixture
def may_read_keys(monkeypatch):
    """Keys may be read again at once."""
    monkeypatch.setattr(instances, "KEY_AGE", 0.0)


@WAYS
@pytest.mark.usefixtures("may_read_keys")
def test_a_refused_key_is_read_again_before_the_plan_of_the_next_call(way):
    hub = _keyed(Source("bad", "bad", "good"), "a")
    with pytest.raises(AuthenticationError) as caught:
        _ask(hub, way, "m", "Hello")
    assert len(caught.value.route.attempts) == 1
    assert _ask(hub, way, "m", "Hello").text == "fine"


@pytest.mark.usefixtures("may_read_keys")
def test_the_event_loop_goes_on_while_a_key_is_read_again():
    gate = threading.Event()
    gate.set()
    hub = _keyed(Source("bad", "bad", "good", gate=gate), "a")

    async def main():
        with pytest.raises(AuthenticationError):
            await hub.acomplete("m", "Hello")
        gate.clear()
        call = asyncio.create_task(hub.acomplete("m", "Hello"))
        await asyncio.sleep(0)
        gate.set()
        return await call

    assert asyncio.run(main()).text == "fine"


def test_explain_reads_no_key_and_lifts_no_pause(monkeypatch):
    monkeypatch.setenv("ACME_API_KEY", "bad")
    hub = Hub(Settings(autoload=False))
    closed = []
    provider = Fine()
    provider.close = lambda: closed.append(1)
    refuse = [AuthenticationError("no", status=401)]

    def stream(request, call):
        if refuse:
            raise refuse.pop()
        yield "fine"

    provider.stream = stream
    hub.register(ProviderInfo(name="acme", models=("m",), needs_auth=True), provider)
    with pytest.raises(AuthenticationError):
        hub.complete("m", "Hello")
    monkeypatch.setenv("ACME_API_KEY", "good")
    for _ in range(2):
        with pytest.raises(AuthenticationError):
            hub.explain("m")
    assert hub.complete("m", "Hello").text == "fine"


def _token(seconds):
    claims = base64.urlsafe_b64encode(json.dumps({"exp": time.time() + seconds}).encode()).decode().rstrip("=")
    return f"e30.{claims}.c2ln"


@pytest.mark.usefixtures("may_read_keys")
@pytest.mark.parametrize(("seconds", "jobs"), [(3600, 0), (30, 1), (-5, 1)])
def test_a_token_near_its_end_is_read_again(seconds, jobs):
    token = _token(seconds)
    hub = _keyed(Source(token, token, "good"), "a")
    with pytest.raises(AuthenticationError):
        hub.complete("a/m", "Hello")
    hub._health.forgive("a")
    found = hub._preparer.jobs("m", 1e9)
    assert [job.longest > 0 for job in found] == [seconds < 0] * jobs


@pytest.mark.parametrize("key", ["a.b.c", "e30.e30.x", "e30.W10.x", "plain", ""])
def test_a_key_that_is_no_token_has_no_end(key):
    source = Source(key)
    hub = _keyed(source, "a")
    with pytest.raises(AuthenticationError):
        hub.complete("m", "Hello")
    assert hub._registry.ready("a").key_ends_in() == float("inf")


# --- nothing to prepare, and plugins ------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["m", ["m", "m"], "best"])
def test_a_prepared_model_needs_no_jobs(model):
    hub = Hub(Settings(autoload=False, aliases={"best": ["m"]}), providers=[(ProviderInfo(name="a", models=("m",)), Fine())])
    hub.complete(model, "Hello")
    assert hub._preparer.is_prepared(model, 0.0)
    assert hub._preparer.jobs(model, 0.0) == ()


def test_the_memory_is_bounded(monkeypatch):
    monkeypatch.setattr(preparing, "_MOST_REMEMBERED", 2)
    hub = Hub(Settings(autoload=False), providers=[(ProviderInfo(name="a", models=("*",)), Fine())])
    for name in ("m", "n", "o"):
        hub.complete(name, "Hello")
    assert hub._preparer.is_prepared("o", 0.0)
    assert not hub._preparer.is_prepared("m", 0.0)


@pytest.mark.parametrize("model", [5, None, [], [5], [["m"]], {"m": 1}])
def test_no_model_is_left_to_the_plan(model):
    hub = Hub(Settings(autoload=False))
    assert hub._preparer.jobs(model, 0.0) == ()
    asyncio.run(hub._preparer.aprepare(model, 0.0, 1.0))


def test_the_event_loop_goes_on_while_a_plugin_is_imported(site):
    site.plugin("slow")
    with (site.path / "plug_slow.py").open("a", encoding="utf-8") as file:
        file.write("\nimport builtins\nassert builtins.may_go_on.wait(60)\n")
    out = site.run(
        """
        import asyncio, builtins, threading, providerhub
        builtins.may_go_on = threading.Event()
        async def main():
            call = asyncio.create_task(providerhub.acomplete("slow-model", "Hello"))
            await asyncio.sleep(0.01)
            builtins.may_go_on.set()
            print(await call)
        asyncio.run(main())
        """
    )
    assert out == "slow says: Hello\n"


BLOCKING = """
import asyncio, os, sys, threading, time, types, builtins

class Ticker:
    # Counts the turns of the event loop, every 10 ms. Work that blocks waits until the loop has gone on beside it.
    def __init__(self):
        self.ticks, self.seen = 0, []
        self.changed = threading.Condition()

    async def run(self):
        while True:
            await asyncio.sleep(0.01)
            with self.changed:
                self.ticks += 1
                self.changed.notify_all()

    def block(self, name):
        with self.changed:
            goal = self.ticks + 3
            goes_on = self.changed.wait_for(lambda: self.ticks >= goal, 20)
        self.seen.append(name if goes_on else f"{name} stopped the event loop")

ticker = builtins.ticker = Ticker()
keyring = sys.modules["keyring"] = types.ModuleType("keyring")
keyring.get_password = lambda service, user: ticker.block("keyring") or "good"
from providerhub._settings import secrets
for kind in (secrets.CommandKey, secrets.FileKey):
    def read(key, real=kind.read):
        ticker.block(type(key).__name__)
        return real(key)
    kind.read = read
import providerhub

async def main():
    ticking = asyncio.create_task(ticker.run())
    for model in ("slow-model", "by-command/x", "by-file/x", "by-keyring/x", "listed"):
        print(model, await providerhub.acomplete(model, "Hello"))
    ticking.cancel()

asyncio.run(main())
print(*ticker.seen, sep="\\n")
"""

BLOCKING_PLUGIN = """
import builtins
from providerhub import ModelInfo, ProviderInfo, hookimpl
builtins.ticker.block("import of the plugin")

@hookimpl
def providerhub_provider():
    return ProviderInfo(
        name="slow", models=(ModelInfo("slow-model"), "x"), factory="plug_slow_parts:create", discover="plug_slow_parts:discover"
    )
"""

BLOCKING_PARTS = """
import builtins
from providerhub import AuthenticationError, Finish, hookimpl
builtins.ticker.block("import of the factory")

def discover(config):
    builtins.ticker.block(f"list of {config.name}")
    return ["listed"]

class Slow:
    def __init__(self, config):
        builtins.ticker.block(f"factory of {config.name}")
        self.config = config

    def stream(self, request, call):
        yield "never"

    async def astream(self, request, call):
        for secret in self.config.options.values():
            assert secret.reveal() == "good"
        if self.config.api_key and self.config.api_key.reveal() == "bad":  # just before it is sent
            raise AuthenticationError("no", status=401)
        yield "fine"
        yield Finish("stop")

create = Slow

@hookimpl
def providerhub_call_finished(route):
    pass
"""

BLOCKING_OBSERVER = """
import builtins
from providerhub import hookimpl
builtins.ticker.block("import of the observer")

@hookimpl
def providerhub_call_finished(route):
    pass
"""


def test_nothing_of_a_first_call_stops_the_event_loop(site):
    site.plugin("slow", BLOCKING_PLUGIN)
    site.write("plug_slow_parts.py", BLOCKING_PARTS)
    site.write("slow_observer.py", BLOCKING_OBSERVER)
    site.distribution("observer", "[providerhub.hooks]\nslow = slow_observer\n")
    site.write("key.txt", "good")
    # The command prints another key when it is asked again, after a 401.
    site.write("key.py", "import pathlib\nf = pathlib.Path('asked')\nprint('good' if f.exists() else 'bad')\nf.touch()\n")
    site.write(
        "settings.toml",
        f"""
        [providers.by-command]
        plugin = "slow"
        api_key = {{ command = {json.dumps([sys.executable, "key.py"])} }}
        [providers.by-file]
        plugin = "slow"
        api_key = {{ file = "key.txt" }}
        options = {{ token = {{ file = "key.txt" }} }}
        [providers.by-keyring]
        plugin = "slow"
        api_key = {{ keyring = "service", username = "me" }}
        """,
    )
    (site.path / "settings.toml").chmod(0o600)
    out = site.run(BLOCKING, PROVIDERHUB_CONFIG=str(site.path / "settings.toml"), PROVIDERHUB_PLUGINS="slow").splitlines()
    assert out[:5] == [f"{model} fine" for model in ("slow-model", "by-command/x", "by-file/x", "by-keyring/x", "listed")]
    assert [line for line in out if "stopped" in line] == []
    names = ("import of the observer", "import of the plugin", "import of the factory", "keyring")
    assert {*names, "factory of by-command", "list of slow"} <= {*out}
    assert (out.count("CommandKey"), out.count("FileKey")) == (2, 2)


def test_a_plugin_that_is_imported_for_longer_than_the_call_may_take_ends_the_call(site):
    site.plugin("slow")
    with (site.path / "plug_slow.py").open("a", encoding="utf-8") as file:
        file.write("\nimport builtins\nbuiltins.may_go_on.wait(60)\n")
    out = site.run(
        """
        import asyncio, builtins, threading, providerhub
        builtins.may_go_on = threading.Event()
        try:
            asyncio.run(providerhub.acomplete("slow-model", "Hello", timeout=0.3))
        except providerhub.DeadlineExceededError as error:
            print(error)
        builtins.may_go_on.set()
        """
    )
    assert "still being imported" in out


def test_a_call_of_a_plugin_that_is_not_installed_is_left_to_the_plan(site):
    out = site.run(
        """
        import asyncio
        from providerhub import ConfigurationError, Hub, ProviderConfig, Settings
        hub = Hub(Settings(providers={"mine": ProviderConfig(plugin="absent")}))
        for name in ("mine/m", "m"):
            try:
                asyncio.run(hub.acomplete(name, "Hello"))
            except ConfigurationError as error:
                print("'absent'" in str(error))
        """
    )
    assert out == "True\nTrue\n"


# --- provider objects ---------------------------------------------------------------------------------------------------


class Native:
    """A provider whose objects belong to an event loop. Its factory is `made_here:create`."""

    def __init__(self, config):
        self.config, self.loop = config, None

    def stream(self, request, call):
        yield "fine"

    async def astream(self, request, call):
        self.loop = asyncio.get_running_loop()  # as the clients of asyncio do
        yield "fine"


@pytest.fixture
def instance(monkeypatch):
    """`instance(kind)`: an instance whose factory makes objects of this class."""

    def make(kind):
        module = types.ModuleType("made_here")
        module.create = kind
        monkeypatch.setitem(sys.modules, "made_here", module)
        return Instance(ProviderConfig(name="p"), ProviderInfo(name="p", factory="made_here:create"))

    return make


def test_an_object_is_made_once_for_a_loop_and_once_for_threads(instance):
    one = instance(Native)

    async def main():
        loop = asyncio.get_running_loop()
        assert one.needs_making(loop)
        made = await one.aprovider(loop, 10)
        assert not one.needs_making(loop)
        assert one.provider(loop) is await one.aprovider(loop, 10) is made
        return made

    assert one.needs_making()
    assert asyncio.run(main()) is not one.provider()
    assert not one.needs_making()


def test_an_object_that_cannot_be_made_under_asyncio_is_tried_once(instance):
    tried = []

    def create(config):
        tried.append(config)
        raise ValueError("no")

    one = instance(create)

    async def main():
        await one.aprovider(asyncio.get_running_loop(), 10)

    with pytest.raises(PluginError, match="ValueError: no"):
        asyncio.run(main())
    assert len(tried) == 1


def test_the_event_loop_goes_on_while_an_object_is_made(instance):
    may_go_on = threading.Event()

    def create(config):
        assert may_go_on.wait(60)
        return Native(config)

    one = instance(create)

    async def main():
        loop = asyncio.get_running_loop()
        with pytest.raises(ProviderTimeoutError, match=r"within 0\.05 s"):
            await one.aprovider(loop, 0.05)
        making = asyncio.create_task(one.aprovider(loop, 10))
        await asyncio.sleep(0)
        may_go_on.set()
        assert (await making).config.name == "p"

    asyncio.run(main())


def test_a_loop_may_ask_while_a_thread_makes_an_object(instance):
    may_go_on = threading.Event()

    def create(config):
        assert may_go_on.wait(60)
        return Native(config)

    one = instance(create)
    making = threading.Thread(target=one.provider)
    making.start()
    assert one.needs_making()
    one.close()
    may_go_on.set()
    making.join()
    assert not one.needs_making()


def test_an_object_of_a_key_that_changed_meanwhile_is_closed_and_made_anew(instance, monkeypatch):
    monkeypatch.setenv("P_API_KEY", "old")
    closed = []

    class Closing(Native):
        def __init__(self, config):
            super().__init__(config)
            if config.api_key.reveal() == "old":
                monkeypatch.setenv("P_API_KEY", "new")
                one.renew_key()

        def close(self):
            closed.append(self.config.api_key.reveal())

    instance(Closing)
    one = Instance(ProviderConfig(name="p"), ProviderInfo(name="p", factory="made_here:create", needs_auth=True))
    assert one.provider().config.api_key.reveal() == "new"
    assert closed == ["old"]


def test_objects_of_ended_loops_are_let_go(instance):
    one = instance(Native)

    alive = []

    async def use():
        provider = one.provider(asyncio.get_running_loop())
        alive.append(weakref.ref(provider))
        return [piece async for piece in provider.astream(None, None)]

    for _ in range(5):
        asyncio.run(use())
    gc.collect()
    assert sum(provider() is not None for provider in alive) <= 1


@pytest.mark.parametrize("method", ["close", "aclose"])
def test_closing_under_asyncio_waits_for_a_provider_for_a_limited_time(instance, monkeypatch, caplog, method):
    monkeypatch.setattr(instances, "CLOSING_SECONDS", 0.05)
    may_end = threading.Event()

    class Slow(Native):
        if method == "close":
            astream = None

            def close(self):
                assert may_end.wait(60)
        else:

            async def aclose(self):
                while not may_end.is_set():
                    try:
                        await asyncio.sleep(20)
                    except asyncio.CancelledError:
                        may_end.set()

    one = instance(Slow)

    async def main():
        one.provider(asyncio.get_running_loop())
        await one.aclose()

    asyncio.run(main())
    may_end.set()
    assert "provider p has not closed within 0.05 s" in caplog.text


def test_an_object_of_this_loop_without_aclose_is_closed_in_its_thread(instance):
    threads = []

    class Closing(Native):
        def close(self):
            threads.append(threading.current_thread())

    one = instance(Closing)

    async def main():
        one.provider(asyncio.get_running_loop())
        await one.aclose()

    asyncio.run(main())
    assert threads == [threading.current_thread()]


def test_a_failure_to_close_under_asyncio_is_logged(instance, caplog):
    class Failing(Native):
        async def aclose(self):
            raise RuntimeError("no")

    one = instance(Failing)

    async def main():
        one.provider(asyncio.get_running_loop())
        await one.aclose()

    asyncio.run(main())
    assert "provider p failed to close" in caplog.text


def test_a_cancelled_close_cancels_the_providers(instance):
    cancelled = []

    class Slow(Native):
        async def aclose(self):
            try:
                await asyncio.sleep(20)
            except asyncio.CancelledError:
                cancelled.append(self)
                raise

    one = instance(Slow)

    async def main():
        one.provider(asyncio.get_running_loop())
        closing = asyncio.create_task(one.aclose())
        await asyncio.sleep(0.01)
        closing.cancel()
        await asyncio.wait([closing])

    asyncio.run(main())
    assert len(cancelled) == 1
