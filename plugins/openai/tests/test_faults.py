"""The asynchronous side fails like the synchronous side, and leaves nothing behind.

The core's `tests/faults` tries all rows of the fault matrix through this plugin. These tests are only for asyncio.
"""

import asyncio
import gzip
import ssl

import pytest
import trustme

import providerhub
from providerhub import Timeout
from providerhub.testing import (
    Close,
    FakeClock,
    FaultServer,
    Gate,
    Hold,
    Pause,
    Repeat,
    Reset,
    Send,
    chunk,
    chunked,
    close_delimited,
    http_response,
    openai_chunk,
    openai_error,
    openai_stream,
    refusing_url,
    response_head,
    sse,
    unanswering_url,
)

CANARY = "canary-key-0123456789"
HELLO = openai_chunk("Hello")
BOMB = gzip.compress(b"data: " + b"x" * (100 * 1024 * 1024))
SHORT = Timeout(connect=0.3, first_token=0.3, byte_idle=0.3, token_idle=0.3, total=5.0)


def event(data):
    return sse(data, done=False)[0]


SCRIPTS = {
    "400": http_response(400, openai_error("no")),
    "context": http_response(400, openai_error("too long", code="context_length_exceeded")),
    "401": http_response(401, openai_error(f"wrong key {CANARY}")),
    "404": http_response(404, openai_error("no such model", code="model_not_found")),
    "429": http_response(429, openai_error("slow down"), {"Retry-After": "700"}),  # after the deadline, so no call waits
    "quota": http_response(429, openai_error("no money", code="insufficient_quota")),
    "500": http_response(500, openai_error("oops")),
    "302": http_response(302, b"", {"Location": "http://127.0.0.1:1/"}),
    "reset": Reset(),
    "closed": Close(),
    "banner": (Send(b"SSH-2.0-OpenSSH_9.6\r\n"), Close()),
    "page": http_response(200, "<html>no</html>", {"Content-Type": "text/html"}),
    "empty": http_response(200, b"", {"Content-Type": "text/event-stream"}),
    "error first": chunked(sse(openai_error("overloaded", kind="server_error"))),
    "garbage": chunked([b"data: {]\n\n"]),
    "bad chunk": (Send(response_head(200, {"Transfer-Encoding": "chunked"})), Send(b"zz\r\n"), Close()),
    "bad chunk later": (*chunked([b": hold on\n\n"], end=False), Pause(0.2), Send(b"zz\r\n"), Close()),
    "bad chunk and silence": (*chunked([b": hold on\n\n"], end=False), Pause(0.2), Send(b"zz\r\n"), Hold()),
    "cut length": (Send(response_head(200, {"Content-Type": "application/json", "Content-Length": "99"}) + b"{"), Close()),
    "json error": http_response(200, openai_error("rate", kind="rate_limit_error")),
    "long line": chunked([b"data: ", Repeat(chunk(b"x" * 65536))], end=False),
    "bomb": http_response(200, BOMB, {"Content-Type": "text/event-stream", "Content-Encoding": "gzip"}),
    "silence": Hold(),
    "no event": chunked([Hold()], end=False),
    "comments": chunked([Repeat((Send(chunk(b": still here\n\n")), Pause(0.05)))], end=False),
}


SILENT = {"silence", "no event", "comments", "stall", "comments only"}
"""Only scenarios that wait for a timeout get a short one: on a busy machine the others must not time out."""


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_failure_before_content_raises_the_same_in_both_transports(hub_at, sync_and_async, name):
    found = []
    for ask in sync_and_async:
        with FaultServer(SCRIPTS[name]) as server, hub_at(server.url, timeout=SHORT if name in SILENT else None) as hub:
            with pytest.raises(providerhub.ProviderHubError) as caught:
                ask(hub)
            error = caught.value
            told = [getattr(error, name, None) for name in ("status", "retryable", "retry_after")]
            found.append((type(error), *told, CANARY in str(error)))
            assert server.served <= 1
    assert found[0] == found[1]
    assert found[0][-1] is False


BROKEN = {
    "cut chunks": (*chunked([event(HELLO)], end=False), Close()),
    "cut close-delimited": close_delimited([event(HELLO)]),
    "broken chunk": (*chunked([event(HELLO)], end=False), Send(b"zz\r\n"), Hold()),
    "broken chunk in one piece": (Send(b"".join(step.data for step in chunked([event(HELLO)], end=False)) + b"zz\r\n"), Hold()),
    "reset": (*chunked([event(HELLO), Gate("sent")], end=False), Reset()),
    "error event": chunked(sse(HELLO, openai_error("overloaded", kind="server_error"))),
    "stall": chunked([event(HELLO), Hold()], end=False),
    "comments only": chunked([event(HELLO), Repeat((Send(chunk(b": still here\n\n")), Pause(0.05)))], end=False),
}


@pytest.mark.parametrize("name", BROKEN)
def test_every_break_after_content_keeps_the_text_in_both_transports(hub_at, sync_and_async, name):
    found = []
    for ask in sync_and_async:
        with FaultServer(BROKEN[name]) as server, hub_at(server.url, timeout=SHORT if name in SILENT else None) as hub:
            server.open("sent")
            with pytest.raises(providerhub.StreamInterruptedError) as caught:
                ask(hub)
            found.append((caught.value.partial, type(caught.value.cause)))
    assert found[0] == found[1]
    assert found[0][0] == "Hello"


def test_failures_to_connect(hub_at, sync_and_async):
    for ask in sync_and_async:
        with (
            refusing_url() as url,
            hub_at(url) as hub,
            pytest.raises(providerhub.ProviderConnectionError, match=r"cannot connect to 127\.0\.0\.1:\d+: Connection refused"),
        ):
            ask(hub)
        with (
            hub_at("https://no-such-host.invalid") as hub,
            pytest.raises(providerhub.ProviderConnectionError, match="cannot be resolved"),
        ):
            ask(hub)
        with (
            unanswering_url() as url,
            hub_at(url, timeout=Timeout(connect=0.2)) as hub,
            pytest.raises(providerhub.ProviderTimeoutError, match="connect"),
        ):
            ask(hub)


def test_a_certificate_is_checked(hub_at, ask, tmp_path):
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    with FaultServer(openai_stream("Hi"), tls=context) as server:
        with hub_at(server.url) as hub, pytest.raises(providerhub.TLSError):
            ask(hub)
        with hub_at(server.url, ca_bundle=str(tmp_path / "ca.pem")) as hub:
            assert ask(hub).text == "Hi"


def test_a_redirect_is_not_followed(hub_at, ask):
    with FaultServer(openai_stream("Hi")) as target:
        for status in (301, 302, 307, 308):
            script = http_response(status, b"", {"Location": f"{target.url}/v1/chat/completions"})
            with (
                FaultServer(script) as server,
                hub_at(server.url) as hub,
                pytest.raises(providerhub.ProtocolError, match="redirect"),
            ):
                ask(hub)
        assert target.connected == 0


def test_a_cookie_is_not_kept_and_the_environment_s_proxy_not_used(hub_at, ask, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    script = http_response(200, b'{"choices":[{"message":{"content":"Hi"}}]}', {"Set-Cookie": "a=b; Path=/"})
    with FaultServer(script, repeat=True) as server, hub_at(server.url) as hub:
        ask(hub)
        ask(hub)
    assert [request.header("cookie") for request in server.requests] == ["", ""]


def test_a_configured_proxy_is_used(hub_at, ask):
    with FaultServer(openai_stream("Hi")) as proxy, hub_at("http://127.0.0.1:1", proxies={"http": proxy.url}) as hub:
        assert ask(hub).text == "Hi"
    assert proxy.requests[0].target == "http://127.0.0.1:1/v1/chat/completions"


def test_a_proxy_may_be_written_without_its_scheme_and_for_one_host(hub_at, ask):
    with FaultServer(openai_stream("Hi"), repeat=True) as proxy:
        bare = proxy.url.removeprefix("http://")
        for proxies in ({"http": bare}, {"all": bare}, {"http://127.0.0.1": bare, "http": "http://127.0.0.1:1"}):
            with hub_at("http://127.0.0.1:1", proxies=proxies) as hub:
                assert ask(hub).text == "Hi"


def test_a_stream_that_is_closed_early_frees_its_socket(hub_at):
    async def leave(hub, server):
        async with await hub.acomplete("openai/m", "?", stream=True) as stream:
            assert await anext(aiter(stream)) == "Hello"
        await asyncio.to_thread(server.client_gone)

    with FaultServer(chunked([event(HELLO), Hold()], end=False)) as server, hub_at(server.url) as hub:
        asyncio.run(leave(hub, server))


@pytest.mark.parametrize("script", [Hold(), chunked([event(HELLO), Hold()], end=False)], ids=["before headers", "in the stream"])
def test_a_cancelled_task_frees_its_socket_and_stays_cancelled(hub_at, script):
    async def read(hub):
        async with await hub.acomplete("openai/m", "?", stream=True) as stream:
            async for _ in stream:
                begun.set()

    async def cancel(hub, server):
        task = asyncio.create_task(read(hub))
        await asyncio.to_thread(server.wait_served, 1)
        if script != Hold():
            await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.to_thread(server.client_gone)

    begun = asyncio.Event()
    with FaultServer(script) as server, hub_at(server.url) as hub:
        asyncio.run(cancel(hub, server))


def test_a_stream_that_another_task_closes_ends(hub_at):
    async def read(stream, begun):
        async for _ in stream:
            begun.set()

    async def close(hub, server):
        stream, begun = await hub.acomplete("openai/m", "?", stream=True), asyncio.Event()
        task = asyncio.create_task(read(stream, begun))
        await begun.wait()
        await stream.aclose()
        await asyncio.wait([task])
        assert not isinstance(task.exception(), asyncio.CancelledError)
        await asyncio.to_thread(server.client_gone)

    with FaultServer(chunked([event(HELLO), Hold()], end=False)) as server, hub_at(server.url) as hub:
        asyncio.run(close(hub, server))


def test_a_connection_is_reused_in_its_own_loop_only(hub_at):
    async def ask_twice(hub):
        for _ in range(2):
            async with await hub.acomplete("openai/m", "?", stream=True) as stream:
                assert [token async for token in stream] == ["Hi"]

    with FaultServer(openai_stream("Hi"), repeat=True) as server, hub_at(server.url) as hub:
        for loops in (1, 2):
            asyncio.run(ask_twice(hub))
            assert server.connected == loops
            # `asyncio.run` ends the loop, and with it the kept connections.
            server.client_gone(loops - 1)


def test_a_connection_with_bytes_after_the_end_mark_is_not_reused(hub_at, ask):
    done = b"data: [DONE]\n\n"
    whole = b"".join([event(openai_chunk("Hi", finish_reason="stop")), done])
    # With the end mark, or after it; the body ends at once.
    for script in (chunked([whole + done]), chunked([whole, done])):
        with FaultServer(script, repeat=True) as server, hub_at(server.url) as hub:
            for number in range(2):
                assert ask(hub).text == "Hi"
                server.client_gone(number)
            assert server.connected == 2


def test_a_stream_is_recognised_without_its_content_type(hub_at, ask):
    script = chunked(sse(HELLO, openai_chunk(finish_reason="stop")), headers={"Content-Type": "application/json"})
    with FaultServer(script) as server, hub_at(server.url) as hub:
        answer = ask(hub)
    assert answer.text == "Hello"
    assert "application/json" in answer.route.attempts[0].notes[0]


def test_closing_the_hub_closes_the_connections_of_a_running_loop(hub_at):
    async def ask_and_close(hub, server):
        await hub.acomplete("openai/m", "?")
        hub.close()
        await asyncio.to_thread(server.client_gone)

    answer = http_response(200, b'{"choices":[{"message":{"content":"Hi"},"finish_reason":"stop"}]}')
    with FaultServer(answer, repeat=True) as server, hub_at(server.url) as hub:
        asyncio.run(ask_and_close(hub, server))


def test_closing_the_hub_does_not_cut_a_running_answer(hub_at):
    async def read_on(hub, server):
        async with await hub.acomplete("openai/m", "?", stream=True) as stream:
            tokens = aiter(stream)
            assert await anext(tokens) == "Hello"
            hub.close()
            server.open("rest")
            assert [token async for token in tokens] == [" you"]
        await asyncio.to_thread(server.client_gone)

    slow = chunked([event(HELLO), Gate("rest"), event(openai_chunk(" you", finish_reason="stop")), b"data: [DONE]\n\n"])
    with FaultServer(slow) as server, hub_at(server.url) as hub:
        asyncio.run(read_on(hub, server))


@pytest.mark.parametrize("start", [0.0, 1e9])
def test_a_call_with_another_clock_waits_in_the_loop_s_time(start):
    from providerhub_openai.provider import OpenAI

    async def use(server):
        provider = OpenAI(providerhub.ProviderConfig(name="openai", url=server.url))
        request = providerhub.Request("m", [{"role": "user", "content": "?"}], stream=True)

        async def ask(**phases):
            call = providerhub.CallContext(Timeout(**phases), clock=FakeClock(start))
            return [piece async for piece in provider.astream(request, call)]

        assert [piece for piece in await ask() if not isinstance(piece, providerhub.Detail)] == ["Hi", providerhub.Finish("stop")]
        for phases in ({"first_token": 0.1}, {"byte_idle": 0.1}):
            with pytest.raises(providerhub.ProviderTimeoutError):
                await ask(**phases)
        await provider.aclose()

    with FaultServer(openai_stream("Hi"), Hold(), chunked([event(HELLO), Hold()], end=False)) as server:
        asyncio.run(use(server))


def test_aclose_waits(hub_at):
    from providerhub_openai.provider import OpenAI

    async def use(server):
        provider = OpenAI(providerhub.ProviderConfig(name="openai", url=server.url))
        request = providerhub.Request("m", [{"role": "user", "content": "?"}], stream=True)
        pieces = [piece async for piece in provider.astream(request, providerhub.CallContext(Timeout()))]
        assert [piece for piece in pieces if not isinstance(piece, providerhub.Detail)] == ["Hi", providerhub.Finish("stop")]
        await provider.aclose()
        await provider.aclose()
        await asyncio.to_thread(server.client_gone)

    with FaultServer(openai_stream("Hi")) as server:
        asyncio.run(use(server))


def test_many_streams_at_once(hub_at):
    async def one(hub):
        async with await hub.acomplete("openai/m", "?", stream=True) as stream:
            return [token async for token in stream]

    async def all_of_them(hub):
        return await asyncio.gather(*(one(hub) for _ in range(150)))

    with FaultServer(openai_stream("a", "b"), repeat=True) as server, hub_at(server.url) as hub:
        assert asyncio.run(all_of_them(hub)) == [["a", "b"]] * 150


def test_the_idle_timeouts_do_not_run_while_the_caller_holds_a_token(hub_at):
    async def slowly(hub, server):
        async with await hub.acomplete("openai/m", "?", stream=True) as stream:
            tokens = aiter(stream)
            assert await anext(tokens) == "Hello"
            await asyncio.sleep(2 * SHORT.token_idle)
            server.open("rest")
            return [token async for token in tokens]

    script = chunked([event(HELLO), Gate("rest"), event(openai_chunk(" you", finish_reason="stop")), b"data: [DONE]\n\n"])
    with FaultServer(script) as server, hub_at(server.url, timeout=SHORT) as hub:
        assert asyncio.run(slowly(hub, server)) == [" you"]
