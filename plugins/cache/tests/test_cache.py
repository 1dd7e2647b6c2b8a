"""Equal requests are answered from memory, a folder, or a real server of the Redis protocol."""

import asyncio
import logging
import os
import shutil
import socket
import subprocess
import sys
import time
import traceback
from dataclasses import dataclass

import pytest

from providerhub import (
    ConfigurationError,
    Detail,
    Finish,
    Hub,
    ModelInfo,
    ProviderHubError,
    ProviderInfo,
    RefusalDelta,
    ServerError,
    Settings,
    ToolCallDelta,
    Usage,
    UsageDelta,
    image,
)
from providerhub_cache import Cache
from providerhub_cache._answers import unpacked
from providerhub_cache._stores import Memory, Server

TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]


class Counter:
    """Answers with the number of the call."""

    def __init__(self, *script):
        self.script = script
        self.calls = 0

    def stream(self, request, call):
        self.calls += 1
        for piece in self.script or (f"answer {self.calls}", UsageDelta(Usage(3, 4)), Detail("id", "r1"), Finish("stop")):
            if isinstance(piece, Exception):
                raise piece
            yield piece


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """The address of a real Redis or Valkey server."""
    pytest.importorskip("redis", reason="needs redis: pip install 'providerhub-cache[redis]'")
    program = os.environ.get("PROVIDERHUB_REDIS") or shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        pytest.skip("needs a server: apt install redis-server")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = str(tmp_path_factory.mktemp("redis"))
    words = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        next(line for line in process.stdout if "ready to accept connections" in line.lower())
        yield f"redis://127.0.0.1:{port}"
        process.terminate()


@pytest.fixture(params=["memory", "folder", "server"])
def url(request, tmp_path):
    if request.param == "server":
        address = request.getfixturevalue("server")
        store = Server(address, 1.0)
        store.clear()
        store.close()
        return address
    return "memory" if request.param == "memory" else str(tmp_path / "answers")


@pytest.fixture
def make(url):
    made = []

    def hub(provider, **table):
        cache = Cache({"url": url, **table})
        made.append(
            (
                hub := Hub(Settings(), providers=[(ProviderInfo(name="a", models=(ModelInfo("m"),)), provider)], around=[cache]),
                cache,
            )
        )
        return hub

    yield hub
    for hub, cache in made:
        hub.close()
        cache.close()


def test_an_equal_request_is_answered_from_the_cache(make):
    provider = Counter()
    hub = make(provider)
    first, second = hub.complete("m", "Grüße"), hub.complete("m", "Grüße")
    assert (first.text, first.cached, second.text, second.cached, provider.calls) == ("answer 1", False, "answer 1", True, 1)
    assert (second.usage, second.id, second.provider, second.model) == (Usage(3, 4), "r1", "a", "m")
    assert (second.cost, second.route.attempts) == (None, ())


@pytest.mark.parametrize(
    "other",
    [
        {"messages": "y"}, {"temperature": 0.5}, {"max_tokens": 5}, {"tools": TOOLS}, {"options": {"a": {"x": 1}}},
        {"model": "a/m"}, {"response_format": {"type": "json_object"}}, {"messages": ["x", image(b"\x89PNG\r\n\x1a\n")]},
    ],
)  # fmt: skip
def test_another_request_is_not(make, other):
    provider = Counter()
    hub = make(provider)
    hub.complete("m", "x")
    hub.complete(**{"model": "m", "messages": "x", **other})
    assert provider.calls == 2


def test_streams_are_answered_and_kept(make):
    provider = Counter("an", "swer", ToolCallDelta(0, "c1", "weather", '{"a": 1}'), Finish("tool_calls"))
    hub = make(provider)
    assert "".join(hub.complete("m", "x", stream=True)) == "answer"
    with hub.complete("m", "x", stream=True) as stream:
        assert "".join(stream) == "answer"
    assert (stream.completion.cached, stream.completion.tool_calls[0].arguments) == (True, '{"a": 1}')
    assert hub.complete("m", "x").cached
    assert provider.calls == 1


def test_calls_in_an_event_loop_are_answered_and_kept(make):
    provider = Counter()
    hub = make(provider)

    async def main():
        whole = [await hub.acomplete("m", "x") for _ in range(2)]
        read = []
        for _ in range(2):
            async with await hub.acomplete("m", "y", stream=True) as stream:
                read.append("".join([piece async for piece in stream]))
            await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()})  # they keep the answer
        return whole, read

    (first, second), read = asyncio.run(main())
    assert (first.cached, second.cached, second.text, read, provider.calls) == (False, True, "answer 1", ["answer 2"] * 2, 2)


@pytest.mark.parametrize(
    "script",
    [
        ("cut", Finish("length")), ("filtered", Finish("content_filter")), (RefusalDelta("no"), Finish("stop")), ("no end",),
        (ServerError("busy", retryable=False),), (Finish("stop"),),
    ],
)  # fmt: skip
def test_errors_and_answers_that_are_not_whole_are_not_kept(make, script):
    provider = Counter(*script)
    hub = make(provider)
    for _ in range(2):
        try:
            assert not hub.complete("m", "x").cached
        except ProviderHubError:
            continue
    assert provider.calls >= 2


def test_a_stream_that_is_left_is_not_kept(make):
    provider = Counter("a", "b", Finish("stop"))
    hub = make(provider)
    with hub.complete("m", "x", stream=True) as stream:
        next(iter(stream))
    hub.complete("m", "x")
    assert provider.calls == 2


def test_an_answer_is_not_used_after_an_alias_on_the_way_has_other_targets():
    around = [Cache({"url": "memory"}, aliases=(aliases := {"fast": ("cheap",), "cheap": ("m",)}))]
    provider = Counter()
    with Hub(
        Settings(aliases=aliases), providers=[(ProviderInfo(name="a", models=(ModelInfo("m"),)), provider)], around=around
    ) as hub:
        assert [hub.complete("fast", "x").cached for _ in range(2)] == [False, True]
        aliases["cheap"] = ("a/m",)
        assert not hub.complete("fast", "x").cached


def test_a_request_too_deep_to_be_written_goes_on(make):
    deep = []
    for _ in range(100_000):
        deep = [deep]
    assert make(Counter()).complete("m", "x", options={"a": {"x": deep}}).text == "answer 1"


def test_a_call_can_do_without_the_cache(make):
    provider = Counter()
    hub = make(provider)
    hub.complete("m", "x", cache=False)
    hub.complete("m", "x")
    assert hub.complete("m", "x", cache=False).text == "answer 3"
    assert hub.complete("m", "x", cache=True).text == "answer 2"


@dataclass
class Person:
    name: str


def test_an_object_is_read_from_a_kept_answer(make):
    provider = Counter('{"name": "Anna"}', Finish("stop"))
    hub = make(provider)
    answers = [hub.complete("m", "x", response_format=Person) for _ in range(2)]
    assert [answer.parsed for answer in answers] == [Person("Anna")] * 2
    assert (answers[1].cached, provider.calls) == (True, 1)


def test_an_answer_grows_old(make):
    provider = Counter()
    hub = make(provider, age="0.05s")
    hub.complete("m", "x")
    end = time.monotonic() + 20
    while hub.complete("m", "x").text == "answer 1" and time.monotonic() < end:
        pass
    assert provider.calls >= 2


def test_the_size_of_the_memory_is_bounded():
    store = Memory(2, 60.0)
    for name in "abc":
        store.set(name, b"x")
    assert [store.get(name) for name in "abc"] == [None, b"x", b"x"]


def test_the_settings_switch_it_on_through_its_entry_point(tmp_path):
    provider = Counter()
    settings = Settings(cache={"url": str(tmp_path / "answers")})
    for _ in range(2):  # two hubs share the folder
        with Hub(settings, providers=[(ProviderInfo(name="a", models=(ModelInfo("m"),)), provider)]) as hub:
            assert hub.complete("m", "x").text == "answer 1"


@pytest.mark.parametrize(("cache", "kept"), [(True, True), ("memory", True), ({"age": "1h"}, True), (False, False), (None, True)])
def test_an_argument_of_the_hub_outranks_the_settings(cache, kept):
    provider = Counter()
    settings = Settings(cache={"url": "memory"} if not cache else {})
    with Hub(settings, providers=[(ProviderInfo(name="a", models=(ModelInfo("m"),)), provider)], cache=cache) as hub:
        assert [hub.complete("m", "x").cached for _ in range(2)] == [False, kept]


def test_an_argument_that_is_no_cache_is_refused():
    with pytest.raises(ConfigurationError, match=r'cache must be "memory", a folder, .* use around=\[\.\.\.\] for a Cache, not'):
        Hub(Settings(), cache=Cache())
    with pytest.raises(ConfigurationError, match=r"cache\.url must name a folder by an absolute path, not 'answers'"):
        Hub(Settings(), cache="answers")


@pytest.mark.parametrize(
    "url", ["redis://a:99999", "redis://:s3cret/a@a", "redis://:a#s3cret@a", "redis://[::1/0", "redis://a?no=1"]
)
def test_a_wrong_address_of_a_server_is_refused_without_its_password(url):
    with pytest.raises(ConfigurationError, match=r"cache\.url is wrong: write redis://HOST:PORT/0") as caught:
        Hub(Settings(), cache=url)
    assert "s3cret" not in "".join(traceback.format_exception(caught.value))


def test_processes_share_a_folder(tmp_path):
    code = """
import sys
from providerhub import Finish, Hub, ProviderInfo, Settings
class Once:
    def stream(self, request, call):
        yield sys.argv[2]
        yield Finish("stop")
with Hub(Settings(cache={"url": sys.argv[1]}), providers=[(ProviderInfo(name="a", models=("m",)), Once())]) as hub:
    print(hub.complete("m", "x"))
"""
    said = [
        subprocess.run([sys.executable, "-c", code, str(tmp_path / "c"), word], capture_output=True, text=True, check=True).stdout
        for word in ("one", "two")
    ]
    assert said == ["one\n", "one\n"]


def test_a_server_that_is_down_makes_no_call_fail(caplog):
    pytest.importorskip("redis")
    provider = Counter()
    cache = Cache({"url": "redis://127.0.0.1:9"})
    with Hub(Settings(), providers=[(ProviderInfo(name="a", models=(ModelInfo("m"),)), provider)], around=[cache]) as hub:
        assert [hub.complete("m", "x").text for _ in range(2)] == ["answer 1", "answer 2"]
    lines = [record for record in caplog.records if record.name == "providerhub.cache"]
    assert [record.levelno for record in lines] == [logging.WARNING]
    assert "calls go on without it: ConnectionError" in lines[0].getMessage()


def _damaged(folder):
    folder.mkdir()
    (folder / "cache.db").write_bytes(b"not a database" * 1000)
    return folder


def _file(path):
    path.write_text("")
    return path


@pytest.mark.parametrize("spoil", [_file, lambda path: _file(path) / "below", _damaged], ids=["file", "below a file", "damaged"])
def test_a_folder_that_cannot_be_opened_makes_no_call_fail(caplog, tmp_path, spoil):
    provider = Counter()
    settings = Settings(cache={"url": str(spoil(tmp_path / "answers"))})
    with Hub(settings, providers=[(ProviderInfo(name="a", models=(ModelInfo("m"),)), provider)]) as hub:
        assert [hub.complete("m", "x").text for _ in range(2)] == ["answer 1", "answer 2"]
    lines = [record.getMessage() for record in caplog.records if record.name == "providerhub.cache"]
    assert len(lines) == 1
    assert "calls go on without it" in lines[0]


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"form": 2}', b'{"form": 1, "usage": {"odd": 1}}', b"\xff"])
def test_bytes_of_another_form_are_not_an_answer(data):
    assert unpacked(data) is None


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"path": "x"}, r"unknown key 'cache\.path'; the known ones are url, age, size"),
        ({"url": "relative/folder"}, r"cache\.url must name a folder by an absolute path, not 'relative/folder'"),
        ({"url": "http://x"}, r'cache\.url must be "memory", a folder, or begin with redis://'),
        ({"url": 3}, r'cache\.url must be "memory", a folder or the address of a Redis server, not int'),
        ({"age": 60}, r'cache\.age must be a length of time such as "30m"'),
        ({"size": 0}, r"cache\.size must be a whole number from 1 to \d+, not 0"),
        ({"size": 10**30}, r"cache\.size must be a whole number from 1 to \d+, not 10+"),
        ({"age": "9" * 400 + "d"}, r'cache\.age must be a length of time such as "30m"'),
        ({"url": "redis://x", "size": 5}, r"cache\.size cannot be set for a server"),
    ],
)
def test_wrong_settings_are_refused_when_the_hub_is_made(table, message):
    with pytest.raises(ConfigurationError, match=message):
        Hub(Settings(cache=table))


FORKED = """
import os, threading
from providerhub_cache._stores import Memory

store = Memory(2, 60.0)
store.set("key", b"value")
held, let_go = threading.Event(), threading.Event()

def hold():
    with store._lock:
        held.set()
        let_go.wait(60)

threading.Thread(target=hold, daemon=True).start()
assert held.wait(60)
child = os.fork()
if not child:
    print(store.get("key"), flush=True)
    os._exit(0)
os.waitpid(child, 0)
let_go.set()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_lock_of_the_parent_does_not_hold_a_forked_process_up():
    # Python 3.12 and later warn of each fork beside threads, which is what is tested.
    python = [sys.executable, "-W", "ignore:This process:DeprecationWarning"]
    done = subprocess.run([*python, "-c", FORKED], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("b'value'\n", "")
