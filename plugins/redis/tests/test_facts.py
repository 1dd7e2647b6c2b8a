"""The statements of providers to one process reach the others, through a real server."""

import subprocess
import sys
import textwrap
import threading
import traceback

import pytest
import trustme

from providerhub import (
    AuthenticationError,
    CapabilityError,
    ConfigurationError,
    Fact,
    Hub,
    ProviderHubError,
    QuotaExceededError,
    RateLimitError,
    Settings,
    Shared,
)

pytestmark = pytest.mark.unix

FACT = Fact("api.acme.example:00", "m", "rate limited", 60.0)


def refused(hub, provider, error):
    provider.error = error
    with pytest.raises(ProviderHubError):
        hub.complete("acme/m", "?", timeout=1.0)
    provider.error = None


def pause(hub):
    return {(one.model, one.pause) for one in hub.health() if one.pause}


@pytest.mark.parametrize(
    "url", ["redis://a:99999", "redis://:s3cret/a@a", "redis://:a#s3cret@a", "valkey://[::1", "redis://a?b=1"]
)
def test_a_wrong_address_is_refused_without_its_password(url, caplog):
    with pytest.raises(ConfigurationError, match=r"address of the store is wrong|Invalid IPv6") as caught:
        Hub(Settings(), shared=url)
    assert "s3cret" not in "".join(traceback.format_exception(caught.value)) + caplog.text


STATED = {
    "rate limited": (RateLimitError("slow down", status=429, retry_after=60.0), ("m", "rate limited")),
    "quota": (QuotaExceededError("no money", status=402), ("", "quota used up")),
    "key": (AuthenticationError("bad key", status=401), ("", "key rejected")),
}


@pytest.mark.parametrize(("error", "shown"), STATED.values(), ids=STATED)
def test_a_statement_stops_the_other_processes(server, worker, error, shown):
    (first, asked, _), (second, idle, store) = worker(server.url), worker(server.url)
    refused(first, asked, error)
    store.heard()
    assert shown in pause(second)
    with pytest.raises(ProviderHubError):
        second.complete("acme/m", "?", timeout=1.0)
    assert idle.asked == 0


def test_a_denied_capability_is_remembered_by_all(server, worker):
    (first, asked, _), (second, _, store) = worker(server.url), worker(server.url)
    refused(first, asked, CapabilityError("no images", status=400, capability="images"))
    store.heard()
    assert [one.lacking for one in second.health()] == [("images",)]


def test_a_process_that_comes_later_hears_what_holds(server, worker):
    first, asked, _ = worker(server.url)
    refused(first, asked, STATED["rate limited"][0])
    late, provider, store = worker(server.url)
    fact = store.heard()
    assert 50 < fact.seconds <= 66  # the rest of the pause, with its jitter
    with pytest.raises(ProviderHubError):
        late.complete("acme/m", "?", timeout=1.0)
    assert provider.asked == 0


def test_a_wrong_key_pauses_no_other_process(server, worker):
    (first, asked, _), (other, provider, store) = worker(server.url, key="sk-wrong"), worker(server.url)
    refused(first, asked, STATED["key"][0])
    store.heard()
    assert other.complete("acme/m", "?").text == "fine"
    assert provider.asked == 1


def test_namespaces_are_separate(server, worker, connect):
    first, asked, _ = worker(server.url, namespace="shop")
    (other, _, _), same = worker(server.url, namespace="blog"), connect(server.url, namespace="shop")
    refused(first, asked, STATED["key"][0])
    same.heard()
    assert pause(other) == set()


def test_no_key_reaches_the_server(server, worker, connect):
    listening = connect(server.url)
    first, asked, store = worker(server.url, key="sk-canary-7f3a")
    refused(first, asked, STATED["key"][0])
    assert "canary" not in repr(listening.heard())
    assert "canary" not in repr(store._server._client.zrange(store._server._facts, 0, -1))


def test_forgive_lifts_the_pause_everywhere(server, worker, connect):
    (first, asked, _), (second, _, store) = worker(server.url), worker(server.url)
    refused(first, asked, STATED["quota"][0])
    assert store.heard().what == "quota used up"
    second.forgive("acme")
    assert first._sharing._store.heard().what == "forgiven"
    assert pause(first) == pause(second) == set()
    assert second.complete("acme/m", "?").text == "fine"
    assert connect(server.url).facts.empty()
    assert first._sharing._store._facts == second._sharing._store._facts == {}  # nor does any process send it again


def test_a_storm_of_refusals_is_one_message(server, worker, connect):
    """A hundred calls that are refused at once say the same."""
    listening = connect(server.url)
    hub, provider, _ = worker(server.url)
    provider.error = STATED["rate limited"][0]
    together = threading.Barrier(20)

    def call():
        together.wait()
        with pytest.raises(ProviderHubError):
            hub.complete("acme/m", "?", timeout=1.0)

    threads = [threading.Thread(target=call) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    listening.heard()
    worker(server.url)[2].heard()  # all earlier facts have come by now
    assert listening.facts.qsize() <= 3


def test_without_a_server_calls_go_on_and_one_line_says_so(worker, log):
    hub, _, _ = worker("redis://127.0.0.1:1/0", up=False)
    line = log.wait_for("does not work")
    assert "127.0.0.1:1" in line
    assert hub.complete("acme/m", "?").text == "fine"
    assert log.rest() == []


def test_a_killed_server_that_comes_back_learns_what_it_missed(server, worker, log):
    (first, asked, _), (_, _, store) = worker(server.url), worker(server.url)
    refused(first, asked, CapabilityError("no tools", status=400, capability="tools"))
    store.heard()
    server.kill()
    log.wait_for("does not work")
    refused(first, asked, STATED["quota"][0])
    server.start()  # empty: it keeps nothing on a disk
    while store.heard().what != "quota used up":
        pass
    late, provider, fresh = worker(server.url)
    missing = {"quota used up", "no tools"}
    while missing:  # a fact that is sent at this moment comes twice
        missing.discard(fresh.heard().what)
    with pytest.raises(ProviderHubError):
        late.complete("acme/m", "?", timeout=1.0)
    assert provider.asked == 0


def test_a_paused_server_costs_no_call_anything(server, worker, log):
    hub, provider, store = worker(server.url)
    store.tell(FACT)
    server.pause()
    refused(hub, provider, STATED["rate limited"][0])
    hub.forgive("acme")
    assert hub.complete("acme/m", "?").text == "fine"
    log.wait_for("does not work")
    server.resume()
    log.wait_for("works again")


def test_a_full_server_still_passes_facts_on(serve, worker):
    server = serve("--maxmemory", "1")
    (first, asked, _), (second, _, store) = worker(server.url), worker(server.url)
    refused(first, asked, STATED["quota"][0])
    assert store.heard().what == "quota used up"
    assert ("", "quota used up") in pause(second)


def test_a_wrong_password_is_named_without_the_password(serve, worker, log):
    server = serve(password="right-secret")
    hub, _, _ = worker(server.url.replace("right", "wrong"), up=False)
    line = log.wait_for("does not work")
    assert "wrong-secret" not in line
    assert "AuthenticationError" in line
    assert hub.complete("acme/m", "?").text == "fine"


def test_a_password_in_the_address(serve, worker, connect):
    server = serve(password="right-secret")
    listening = connect(server.url)
    hub, provider, _ = worker(server.url)
    refused(hub, provider, STATED["quota"][0])
    assert listening.heard().what == "quota used up"


def test_over_tls(serve, worker, connect, tmp_path):
    authority = trustme.CA()
    leaf, own = tmp_path / "leaf.pem", tmp_path / "ca.pem"
    issued = authority.issue_cert("127.0.0.1")
    issued.private_key_and_cert_chain_pem.write_to_path(leaf)
    authority.cert_pem.write_to_path(own)
    options = ("--tls-cert-file", leaf, "--tls-key-file", leaf, "--tls-ca-cert-file", own, "--tls-auth-clients", "no")
    server = serve(*map(str, options), scheme="rediss", query=f"?ssl_ca_certs={own}")
    listening = connect(server.url)
    hub, provider, _ = worker(server.url)
    refused(hub, provider, STATED["quota"][0])
    assert listening.heard().what == "quota used up"


def test_a_server_with_an_unknown_certificate_is_refused(serve, worker, log, tmp_path):
    leaf, own = tmp_path / "leaf.pem", tmp_path / "ca.pem"
    trustme.CA().issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(leaf)
    trustme.CA().cert_pem.write_to_path(own)
    options = ("--tls-cert-file", leaf, "--tls-key-file", leaf, "--tls-ca-cert-file", own, "--tls-auth-clients", "no")
    server = serve(*map(str, options), scheme="rediss", query=f"?ssl_ca_certs={own}")
    hub, _, _ = worker(server.url, up=False)
    log.wait_for("does not work")
    assert hub.complete("acme/m", "?").text == "fine"


def test_the_settings_name_the_store(server, connect, tmp_path, monkeypatch):
    listening = connect(server.url, namespace="shop")
    file = tmp_path / "settings.toml"
    file.write_text(f'[shared]\nurl = "{server.url}"\nnamespace = "shop"\n')
    with Hub(Settings.load(file, {})) as hub:
        hub._sharing._store.tell(FACT)
        assert listening.heard().what == "rate limited"
    monkeypatch.setenv("PROVIDERHUB_SHARED", server.url.replace("redis", "valkey", 1))
    with Hub(Settings(autoload=False)) as hub:
        hub._sharing._store.tell(FACT)
        assert connect(server.url).heard().what == "rate limited"


CHILD = """
    import os, sys
    from providerhub import Fact, Shared
    from providerhub_redis import RedisState
    store = RedisState(Shared(sys.argv[1]))
    heard = []
    store.start(heard.append)
    if pid := os.fork():
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    store.tell(Fact("child", "m", "rate limited", 60.0))
    sys.stdin.read()  # until the fact has been heard
    store.close()
    os._exit(0)
"""


def test_a_forked_child_has_a_connection_of_its_own(server, connect):
    listening = connect(server.url)
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", textwrap.dedent(CHILD), server.url]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        assert listening.heard().scope == "child"
        process.stdin.close()
        assert process.wait(60) == 0


IMPORTS = """
    import sys
    from providerhub import Fact, Shared
    from providerhub_redis import RedisState
    store, known = RedisState(Shared(sys.argv[1])), set(sys.modules)
    store.start(print)
    store.tell(Fact("child", "m", "rate limited", 60.0))
    sys.stdin.read()  # until the fact has been heard
    store.close()
    print(*set(sys.modules) - known)
"""


def test_the_thread_imports_nothing(server, connect):
    # A fork in the middle of an import leaves half a module in the child.
    listening = connect(server.url)
    command = [sys.executable, "-c", textwrap.dedent(IMPORTS), server.url]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert listening.heard().scope == "child"
        assert process.communicate(timeout=60)[0] == "\n"


def test_the_distribution_is_found_without_a_complaint():
    with Hub(Settings()) as hub:
        assert [one for one in hub.malformed() if "redis" in one.distribution] == []


def test_the_address_is_never_shown():
    assert "secret" not in repr(Shared("redis://:secret@127.0.0.1/0"))
