"""Checks of plain calls: the answer, the usage, and the request that reaches the service."""

from __future__ import annotations

import json
import pickle
from concurrent import futures
from typing import Any

from providerhub import Completion, Usage
from providerhub.testing import Gate
from providerhub_conformance._faults.connection import RecordedRequest
from providerhub_conformance._faults.steps import Script
from providerhub_conformance._kit.bench import HELLO, Bench, read_whole
from providerhub_conformance._kit.capabilities import TOOL
from providerhub_conformance._kit.check import check
from providerhub_conformance._kit.clients import settle
from providerhub_conformance._kit.outcome import NotApplicable, expect
from providerhub_conformance._kit.wire import Reply

GROUP = "calls"
UNICODE = "naïve – 日本語 🧑‍🚀 \u2028 \u0085 e\u0301 \U0001f1ea\U0001f1fa “x”\t\\n"
"""Characters of two, three and four bytes, joined characters, and line ends that JSON and server-sent events do not know."""
_CALLERS = 6


@check(
    GROUP,
    requires=("metadata-valid",),
    wire=False,
    both=False,
    fix="Let stream(request, call) yield the text of the answer, and Finish at the service's end mark.",
    promise="providerhub.complete() returns all words of the model and adds none.",
)
def basic_call(bench: Bench) -> None:
    """A plain call returns the text of the service, with the names of the provider and the model."""
    server = bench.service(bench.answering())
    answer = bench.client(server).complete("Hello")
    if server is not None:
        expect(answer.text == "".join(HELLO.text), f"the service said {''.join(HELLO.text)!r}; the caller got {answer.text!r}")
    expect(answer.text or answer.tool_calls, "the answer is empty")
    expect(answer.provider == bench.subject.name, f"the answer's provider is {answer.provider!r}")


@check(
    GROUP,
    wire=False,
    both=False,
    fix="Make astream an asynchronous generator, or leave it out: the core then runs stream() in a thread.",
    promise="The same provider also serves acomplete().",
)
def async_call(bench: Bench) -> None:
    """An asynchronous call, plain and streaming, returns the same answer as a synchronous one."""
    from_sync = None
    server = bench.service(bench.answering())
    if server is not None:
        from_sync = "".join(HELLO.text)
    bench.native = True
    client = bench.client(server)
    answers = [client.complete("Hello")]
    if bench.may_stream:
        answers.append(read_whole(client))
    for answer in answers:
        expect(answer.text, "the answer is empty")
        expect(from_sync in {None, answer.text}, f"the service said {from_sync!r}; the asynchronous caller got {answer.text!r}")
    bench.native = False


@check(
    GROUP,
    wire=False,
    fix="Encode requests and decode answers as UTF-8, and never split text by str.splitlines() or "
    "iter_lines(decode_unicode=True).",
    promise="Text in every script arrives unchanged.",
)
def unicode_intact(bench: Bench) -> None:
    """Text in all scripts arrives unchanged, in the question and in the answer, plain and streaming."""
    server = bench.service(bench.answering(Reply(text=("a", UNICODE, "z"))))
    client = bench.client(server)
    answers: list[Any] = [client.complete(UNICODE)]
    if bench.may_stream:
        answers.append(read_whole(client, messages=UNICODE))
    if server is None:
        return
    for answer in answers:
        expect(answer.text == f"a{UNICODE}z", f"the service said {f'a{UNICODE}z'!r}; the caller got {answer.text!r}")
    asked = bench.asked(server, 0).messages[-1][1]
    expect(asked == UNICODE, f"the caller said {UNICODE!r}; the service got {asked!r}")


@check(
    GROUP,
    fix="Yield UsageDelta(Usage(input_tokens=…, output_tokens=…)). Ask for the counts if the service needs that.",
    promise="The answer shows what the call cost.",
)
def usage_reported(bench: Bench) -> None:
    """The token counts that the service reports are in the completion, plain and streaming."""
    bench.needs_place("usage")
    server = bench.serve(bench.answering(Reply(text=("Hi",), usage=Usage(input_tokens=11, output_tokens=7))))
    client = bench.client(server)
    for way in bench.ways(client):
        answer = way()
        usage = answer.usage or Usage()
        got = (usage.input_tokens, usage.output_tokens)
        expect(got == (11, 7), f"the service counted 11 and 7 tokens; the completion says {got[0]} and {got[1]}")


@check(
    GROUP,
    requires=("basic-call", "usage-reported"),
    fix="Let input_tokens include the tokens of the cache, and output_tokens the reasoning. Add them where the service does not.",
    promise="The counts of all providers mean the same, so that costs can be compared and added.",
)
def counts_include_all(bench: Bench) -> None:
    """Tokens read from a cache are part of the input, and tokens of reasoning are part of the output, plain and streaming."""
    bench.needs_place("cached_tokens")
    counted = Usage(input_tokens=11, output_tokens=7, cached_tokens=4, reasoning_tokens=3)
    client = bench.client(bench.serve(bench.answering(Reply(text=("Hi",), usage=counted))))
    for way in bench.ways(client):
        usage = way().usage
        if usage is None:
            raise NotApplicable("it reports no counts")
        for name in ("input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens"):
            got, wanted = getattr(usage, name), getattr(counted, name)
            expect(got == wanted, f"the service counted 11 tokens, 4 of them cached, and 7, 3 of them reasoning; {name} is {got}")


@check(
    GROUP,
    wire=False,
    fix="Yield Detail(name, value) with the names in the docstring of Detail, and values that are JSON.",
    promise="The same thing has the same name in the answer of every provider, and an answer can be stored.",
)
def details_named(bench: Bench) -> None:
    """The details of an answer are JSON, and a detail with a common name has the type of this name."""
    client = bench.client(bench.service(bench.answering()))
    for way in bench.ways(client):
        details = way().details
        for name, kind in _DETAILS.items():
            expect(isinstance(details.get(name), kind | None), f"the detail {name!r} is {details.get(name)!r}")
        expect(_as_json(details) == details, f"the details are not JSON: {details!r}")


_DETAILS: dict[str, type] = {"id": str, "model": str, "request_id": str, "stop_sequence": str, "logprobs": list, "choices": list}


def _as_json(value: Any) -> Any:
    """The value as JSON would return it; for a value that JSON cannot hold, the text of the error."""
    try:
        return json.loads(json.dumps(value))
    except (TypeError, ValueError) as error:
        return str(error)


@check(
    GROUP,
    requires=("basic-call", "reasoning-apart"),
    fix="Yield Turn(content) with content that is JSON, and send message['turn'] in place of the message that has one.",
    promise="messages += [answer.message] continues a conversation, also with models that think.",
)
def message_goes_back(bench: Bench) -> None:
    """The message of an answer can be stored and sent with the next request, plain and streaming; nothing is sent twice."""
    reply = Reply(text=("Hi",), reasoning=("Hm.",) if "reasoning" in bench.wire.carries else ())
    server = bench.serve(bench.answering(reply))
    client = bench.client(server)
    for way in bench.ways(client):
        answer = way()
        message = _as_json(answer.message)
        expect(message == answer.message, f"the message of the answer is not JSON: {answer.message!r}")
        client.complete([{"role": "user", "content": "Hi"}, message, {"role": "user", "content": "And?"}])
        said = [text for role, text in bench.asked(server).messages if role == "assistant"]
        expect(said == ["Hi"], f"the answer said 'Hi'; the assistant's messages in the next request are {said}")


@check(
    GROUP,
    fix="Map the vendor's reasons to 'stop', 'length', 'tool_calls' and 'content_filter'. Pass unknown ones on unchanged.",
    promise="With every provider, callers can tell an answer that was cut at max_tokens from a whole one.",
)
def finish_reason_mapped(bench: Bench) -> None:
    """Each finish reason of the service arrives under its common name, plain and streaming."""
    for reason in bench.wire.finish_reasons:
        if reason == "tool_calls":  # the check claimed-tools covers it, with a tool call
            continue
        client = bench.client(bench.serve(bench.answering(Reply(text=("Hi",), finish_reason=reason))))
        for way in bench.ways(client):
            got = way().finish_reason
            expect(got == reason, f"the service finished with the reason for {reason!r}; the completion says {got!r}")


@check(
    GROUP,
    requires=("finish-reason-mapped",),
    fix="Pass a reason that is not in your table on as it is.",
    promise="An answer that ended for a new reason does not look complete.",
)
def other_reason_kept(bench: Bench) -> None:
    """An unknown finish reason fails no call, and arrives unchanged."""
    bench.needs_place("other_reasons")
    client = bench.client(bench.serve(bench.answering(Reply(text=("Hi",), finish_reason="conformance_reason"))))
    for way in bench.ways(client):
        answer = way()
        expect(answer.text == "Hi", f"the text is {answer.text!r} where the service said 'Hi'")
        got = answer.finish_reason
        expect(got == "conformance_reason", f"the service finished with 'conformance_reason'; the completion says {got!r}")


@check(
    GROUP,
    both=False,
    fix="Keep the state of a call in local variables of stream(), not on self.",
    promise="One hub serves all threads of an application, and each caller gets its own answer.",
)
def calls_isolated(bench: Bench) -> None:
    """Calls that run at the same time each get their own answer."""

    def echo(request: RecordedRequest) -> Script:
        asked = bench.wire.asked(request)
        reply = Reply(text=("for ", asked.messages[-1][1]))
        answer = bench.streamed(*bench.frames(reply).all) if asked.stream else bench.whole(reply)
        return [Gate("all"), answer]

    server = bench.serve(echo)
    hub = bench.hub(server.url + bench.wire.base)
    clients = [bench.client(None, hub=hub) for _ in range(_CALLERS)]
    calls: list[futures.Future[Completion]] = [
        client.start(stream=False, messages=f"caller {number}") for number, client in enumerate(clients)
    ]
    try:
        server.reached("all", times=_CALLERS, timeout=bench.subject.patience)
    except TimeoutError:
        bench.fail(f"{_CALLERS} calls were begun at once; only {server.served} reached the service together")
    server.open("all")
    for number, call in enumerate(calls):
        text = settle(call, bench.subject.patience, "one of several calls at once").text
        expect(text == f"for caller {number}", f"caller {number} got the answer {text!r}")


@check(
    GROUP,
    fix="Send the conversation, also content in parts, and temperature, max_tokens, stop, seed, top_p and parallel_tool_calls "
    "where the protocol can carry them. In a wire of your own, asked() returns the text of a message as one str, and `carries` "
    "names the features.",
    promise="The service gets the request that the caller made.",
)
def request_carried(bench: Bench) -> None:
    """The model, system prompt, conversation, limits, sampling and parallel_tool_calls reach the service unchanged."""
    server = bench.serve(bench.answering())
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "One?"},
        {"role": "assistant", "content": "Two."},
        {"role": "user", "content": [{"type": "text", "text": "Three?"}]},
    ]
    knobs: dict[str, Any] = {"temperature": 0.25, "max_tokens": 77, "stop": ["END"], "seed": 4242, "top_p": 0.75}
    tools = {"tools": [TOOL]} if bench.subject.model.supports_tools else {}
    knobs |= {"parallel_tool_calls": False} if tools else {}
    sent = {name: value for name, value in knobs.items() if name in bench.wire.carries}
    bench.client(server).complete(messages, **sent, **(tools if "parallel_tool_calls" in sent else {}))
    asked = bench.asked(server)
    expect(
        asked.model == bench.subject.sent_name,
        f"the caller asked for {bench.subject.sent_name!r}; the service got {asked.model!r}",
    )
    said = [(m["role"], "Three?" if isinstance(m["content"], list) else m["content"]) for m in messages]
    got = [(role.replace("developer", "system"), text) for role, text in asked.messages]
    expect(got == said, f"the conversation {said} reached the service as {got}")
    for name, value in sent.items():
        found = getattr(asked, name)
        found = list(found) if name == "stop" else found
        expect(found == value, f"{name}={value!r} reached the service as {found!r}")


@check(
    GROUP,
    fix="Merge request.options into the body of the request. Do not store them.",
    promise="options={'acme': {…}} reaches acme in this call.",
)
def options_reach_it(bench: Bench) -> None:
    """A vendor-specific option reaches the service in the call that has it."""
    server = bench.serve(bench.answering())
    bench.client(server).complete("Hello", options={bench.subject.name: {"conformance_option": "on-the-wire"}})
    body = server.requests[0].raw
    expect(b"conformance_option" in body and b"on-the-wire" in body, "the option conformance_option did not reach the service")


@check(
    GROUP,
    requires=("options-reach-it",),
    fix="Build a new body for each request. Do not update a dictionary that is kept on the object.",
    promise="options={'acme': {…}} holds for one call only.",
)
def options_not_kept(bench: Bench) -> None:
    """A vendor-specific option of one call is not sent with the next."""
    server = bench.serve(bench.answering())
    client = bench.client(server)
    client.complete("Hello", options={bench.subject.name: {"conformance_option": "on-the-wire"}})
    client.complete("Hello")
    expect(b"conformance_option" not in server.requests[-1].raw, "the option of one call was sent again with the next")


@check(
    GROUP,
    wire=False,
    fix="Copy messages before changing them. The caller and the next provider use the same list and dictionaries.",
    promise="A fallback gets the conversation as the caller wrote it.",
)
def messages_untouched(bench: Bench) -> None:
    """A call does not change the caller's messages and tools."""
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
    given: dict[str, Any] = {
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": [{"type": "text", "text": "Hi"}]}],
        "options": {bench.subject.name: {"conformance_option": {"a": [1]}}},
    }
    if bench.subject.model.supports_tools:
        given["tools"] = [tool]
    before = pickle.dumps(given)
    bench.client(bench.service(bench.answering())).complete(**given)
    expect(pickle.dumps(given) == before, f"after the call the caller's arguments are {given}")


@check(
    GROUP,
    wire=False,
    fix="Yield plain str and the event classes with plain values, not objects of your own or of an SDK.",
    promise="Answers can be cached, queued and sent between processes.",
)
def result_pickles(bench: Bench) -> None:
    """A completion with usage and a finish reason can be pickled and read again."""
    reply = Reply(text=("Hi",), usage=Usage(input_tokens=1, output_tokens=2))
    client = bench.client(bench.service(bench.answering(reply)))
    for way in bench.ways(client):
        answer = way()
        try:
            copy = pickle.loads(pickle.dumps(answer))  # noqa: S301 -- pickled on the same line
        except Exception as error:  # pickling may raise any error
            bench.fail(f"the completion cannot be pickled: {type(error).__name__}: {error}")
        expect(copy == answer, f"pickled and read again, {answer!r} became {copy!r}")
