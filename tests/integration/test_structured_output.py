"""`response_format=SomeClass`: the schema is sent, the answer becomes an object, and an answer that does not fit is a failure."""

import asyncio
import dataclasses
import sys
from typing import Literal, NotRequired, TypedDict

import attrs
import msgspec
import pytest

from providerhub import (
    AllProvidersFailedError,
    ConfigurationError,
    Finish,
    InvalidOutputError,
    InvalidRequestError,
    ModelInfo,
    NoCapableProviderError,
    ProviderInfo,
    RefusalDelta,
    Restarted,
    ServerError,
    TextDelta,
    ToolCallDelta,
    Usage,
    UsageDelta,
)
from providerhub._calling.output import output_of, strictly
from providerhub.testing import FakeClock, FakeProvider, Hold


@dataclasses.dataclass
class Line:
    name: str
    price: float


@dataclasses.dataclass
class Invoice:
    """A bill."""

    number: str
    lines: list[Line]
    note: str | None = None


@attrs.frozen
class City:
    name: str
    people: int = 0


class Point(TypedDict):
    x: int
    y: NotRequired[int]


class Mood(msgspec.Struct):
    mood: Literal["good", "bad"]


class Tree(msgspec.Struct):
    name: str
    parent: "Tree | None" = None


GOOD, BAD = '{"name": "Ulm", "people": 126}', '{"name": "Ulm", "people": "many"}'
ULM = City("Ulm", 126)


def call(hub, *, way, **knobs):
    """The answer, asked for in one of four ways."""
    if way == "whole":
        return hub.complete("m", "x", **knobs)
    if way == "streamed":
        with hub.complete("m", "x", stream=True, **knobs) as stream:
            list(stream)
            return stream.completion

    async def ask():
        if way == "whole, async":
            return await hub.acomplete("m", "x", **knobs)
        async with await hub.acomplete("m", "x", stream=True, **knobs) as stream:
            async for _ in stream.events():
                pass
            return stream.completion

    return asyncio.run(ask())


WHOLE, STREAMED = ("whole", "whole, async"), ("streamed", "streamed, async")
WAYS = (*WHOLE, *STREAMED)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("kind", "text", "parsed"),
    [
        (Invoice, '{"number": "7", "lines": [{"name": "tea", "price": 2}], "note": null}', Invoice("7", [Line("tea", 2.0)])),
        (City, GOOD, ULM),
        (City, f"```json\n{GOOD}\n```", ULM),
        (City, f"Here it is:\n```\n{GOOD}\n```\n", ULM),
        (Point, '{"x": 1}', {"x": 1}),
        (Mood, '{"mood": "good", "extra": "```"}', Mood("good")),
        (Tree, '{"name": "a", "parent": {"name": "b"}}', Tree("a", Tree("b"))),
    ],
)
def test_an_answer_becomes_an_object(make_hub, way, kind, text, parsed):
    provider = FakeProvider(text)
    answer = call(make_hub(a=provider), way=way, response_format=kind)
    assert (answer.parsed, answer.text) == (parsed, text)
    sent = provider.calls[0].request.response_format
    assert (sent["type"], sent["json_schema"]["name"]) == ("json_schema", kind.__name__)


def test_the_schema_is_strict_where_it_means_the_same():
    found = output_of(Invoice).form["json_schema"]
    line = {"title": "Line", "type": "object", "properties": {"name": {"type": "string"}, "price": {"type": "number"}}}
    assert found == {
        "name": "Invoice",
        "strict": True,
        "schema": {
            "title": "Invoice",
            "description": "A bill.",
            "type": "object",
            "properties": {
                "number": {"type": "string"},
                "lines": {"type": "array", "items": {"$ref": "#/$defs/Line"}},
                "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            },
            "required": ["number", "lines", "note"],
            "additionalProperties": False,
            "$defs": {"Line": {**line, "required": ["name", "price"], "additionalProperties": False}},
        },
    }
    default = output_of(City).form["json_schema"]["schema"]["properties"]["people"]
    assert default == {"type": "integer", "description": "(default: 0)"}
    assert output_of(Tree).form["json_schema"]["schema"]["$defs"].keys() == {"Tree"}


class Loose(msgspec.Struct):
    counts: dict[str, int]


class Made(msgspec.Struct):
    id: str = msgspec.field(default_factory=lambda: "new")


class Pair(msgspec.Struct):
    both: tuple[int, str]


@pytest.mark.parametrize("kind", [Loose, Made, Pair, Point])
def test_a_schema_that_would_mean_something_else_is_not_strict(kind):
    found = output_of(kind).form["json_schema"]
    assert (found["strict"], found["schema"].get("additionalProperties")) == (False, None)


@pytest.mark.parametrize("way", WHOLE)
def test_an_unfit_answer_is_asked_for_once_more_and_then_elsewhere(make_hub, way):
    first, second = FakeProvider(BAD, GOOD), FakeProvider(GOOD)
    assert call(make_hub(a=first, b=second), way=way, response_format=City).parsed == ULM
    assert (len(first.calls), len(second.calls)) == (2, 0)
    first, second = FakeProvider(BAD, "no JSON at all"), FakeProvider(GOOD)
    answer = call(make_hub(a=first, b=second), way=way, response_format=City)
    assert [(a.provider, type(a.error)) for a in answer.route.attempts] == [
        ("a", InvalidOutputError), ("a", InvalidOutputError), ("b", type(None)),
    ]  # fmt: skip
    assert answer.parsed == ULM


@pytest.mark.parametrize("way", WHOLE)
def test_the_error_has_the_text_and_the_whole_answer(make_hub, way):
    hub = make_hub(a=FakeProvider([BAD, UsageDelta(Usage(3, 4)), Finish("stop")], BAD))
    with pytest.raises(InvalidOutputError, match=r"a/m: the answer does not fit City: Expected `int`.*people") as caught:
        call(hub, way=way, response_format=City)
    first = caught.value.route.attempts[0].error
    assert (first.text, first.completion.usage, caught.value.text) == (BAD, Usage(3, 4), BAD)


@pytest.mark.parametrize("way", STREAMED)
def test_a_stream_that_does_not_fit_raises_at_its_end_with_all_of_it(make_hub, way):
    provider = FakeProvider(BAD)
    hub = make_hub(a=provider, b=FakeProvider(GOOD))
    with pytest.raises(InvalidOutputError) as caught:
        call(hub, way=way, response_format=City)
    assert (caught.value.text, caught.value.completion.text, caught.value.completion.parsed) == (BAD, BAD, None)
    assert [attempt.outcome for attempt in caught.value.route.attempts] == ["error"]
    assert not any(record.failures for record in hub.health())


def test_a_stream_that_does_not_fit_starts_again_where_the_caller_would_see_it(make_hub):
    hub = make_hub(a=FakeProvider(BAD, GOOD))
    with hub.complete("m", "x", stream=True, response_format=City, on_interrupt="restart") as stream:
        events = list(stream.events())
        assert [type(event) for event in events if isinstance(event, Restarted)] == [Restarted]
        assert isinstance(next(event for event in events if isinstance(event, Restarted)).error, InvalidOutputError)
        assert (stream.completion.text, stream.completion.parsed) == (GOOD, ULM)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "pieces",
    [
        ['{"name": "Ul', Finish("length")],
        ["", RefusalDelta("I can't."), Finish("stop")],
        [ToolCallDelta(0, "c-1", "f", "{}"), Finish("tool_calls")],
        [TextDelta("{"), Finish("content_filter")],
        [TextDelta("{"), Finish("pause_turn")],
    ],
    ids=["length", "refusal", "tool calls", "content filter", "pause"],
)
def test_what_need_not_fit_is_no_failure(make_hub, way, pieces):
    answer = call(make_hub(a=FakeProvider(pieces)), way=way, response_format=City)
    assert (answer.parsed, len(answer.route.attempts)) == (None, 1)


@pytest.mark.parametrize("way", WAYS)
def test_a_schema_as_a_mapping_is_sent_as_it_is_and_nothing_is_read(make_hub, way):
    form = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}
    provider = FakeProvider("no JSON")
    answer = call(make_hub(a=provider), way=way, response_format=form)
    assert (answer.text, answer.parsed) == ("no JSON", None)
    assert provider.calls[0].request.response_format is form


def test_a_model_that_keeps_to_no_schema_is_left_out_with_the_reason(make_hub):
    unable = ProviderInfo(name="a", models=(ModelInfo("m", supports_json_schema=False),))
    answer = make_hub(a=(unable, FakeProvider("x")), b=FakeProvider(GOOD)).complete("m", "x", response_format=City)
    assert [(skip.provider, skip.reason) for skip in answer.route.skipped] == [("a", "no json schema")]
    with pytest.raises(NoCapableProviderError, match="no json schema"):
        make_hub(a=(unable, FakeProvider("x"))).complete("m", "x", response_format=City)


@pytest.mark.parametrize("way", WHOLE)
def test_beside_a_silent_attempt_an_unfit_answer_does_not_win(make_hub, way):
    clock = FakeClock()
    silent, unfit, quick = (FakeProvider(answer, clock=clock) for answer in ([Hold()], BAD, GOOD))
    hub = make_hub(a=silent, b=unfit, c=quick, hub_options={"clock": clock})
    answer = call(hub, way=way, response_format=City)
    assert (answer.parsed, answer.provider) == (ULM, "c")
    assert [type(attempt.error) for attempt in answer.route.attempts] == [type(None), InvalidOutputError, type(None)]


def test_many_calls_read_their_answers_too(make_hub):
    hub = make_hub(a=FakeProvider(BAD, GOOD, GOOD))
    requests = [{"model": "m", "messages": "x", "response_format": City}] * 2
    found = [outcome.unwrap().parsed for outcome in hub.complete_many(requests, concurrency=1)]
    assert found == [ULM, ULM]


def test_an_answer_that_never_fits_fails_in_many_calls(make_hub):
    provider = FakeProvider(*[BAD] * 2)
    (outcome,) = make_hub(a=provider).complete_many([{"model": "m", "messages": "x", "response_format": City}])
    assert isinstance(outcome.error, InvalidOutputError)
    assert len(provider.calls) == 2


def test_different_failures_are_all_shown(make_hub):
    hub = make_hub(a=FakeProvider(BAD, BAD), b=FakeProvider(ServerError("down", retryable=False)))
    with pytest.raises(AllProvidersFailedError, match="does not fit City"):
        hub.complete("m", "x", response_format=City)


@pytest.mark.parametrize("wrong", [int, list, "json", {"json": 1}, list[int], City("a"), dict])
def test_another_value_is_refused(make_hub, wrong):
    with pytest.raises(InvalidRequestError, match=r"response_format must be a mapping such as .* or a dataclass"):
        make_hub(a=FakeProvider("x")).complete("m", "x", response_format=wrong)


class Row(msgspec.Struct, array_like=True):
    x: int


@attrs.frozen
class Odd:
    thing: object.__class__


@pytest.mark.parametrize(("kind", "named"), [(Row, "Row is not an object with named fields"), (Odd, "made of Odd")])
def test_a_class_without_a_schema_is_refused_with_the_reason(make_hub, kind, named):
    with pytest.raises(InvalidRequestError, match=named):
        make_hub(a=FakeProvider("x")).complete("m", "x", response_format=kind)


def test_without_msgspec_the_extra_is_named(make_hub, monkeypatch):
    @attrs.frozen
    class Fresh:
        x: int

    monkeypatch.setitem(sys.modules, "msgspec.json", None)
    with pytest.raises(ConfigurationError, match=r"response_format=Fresh needs msgspec: pip install 'providerhub\[schema\]'"):
        make_hub(a=FakeProvider("x")).complete("m", "x", response_format=Fresh)


def test_pydantic_reads_its_own_models(make_hub):
    pydantic = pytest.importorskip("pydantic")
    bill = pydantic.create_model("Bill", total=(int, pydantic.Field(ge=0, alias="Total")))
    provider = FakeProvider('{"Total": -1}', '{"Total": 7}')
    answer = make_hub(a=provider).complete("m", "x", response_format=bill)
    assert answer.parsed == bill(Total=7)
    assert "greater than or equal to 0" in str(answer.route.attempts[0].error)
    assert provider.calls[0].request.response_format["json_schema"]["schema"]["required"] == ["Total"]


def test_a_strict_schema_has_the_words_that_vendors_take():
    """A reference stands alone, a choice is `anyOf`, and the rest is in the description."""
    definition = {"type": "object", "properties": {"n": {"type": "string", "maxLength": 3}}, "required": ["n"]}
    either = {"oneOf": [{"$ref": "#/$defs/Home"}, {"type": "null"}], "discriminator": {"propertyName": "kind"}}
    found = strictly(
        {
            "type": "object",
            "properties": {"home": {"$ref": "#/$defs/Home", "default": {"n": "a"}, "description": "Where."}, "other": either},
            "required": ["other"],
            "$defs": {"Home": definition},
        }
    )
    closed = {"required": ["n"], "additionalProperties": False}
    inside = {"type": "object", "properties": {"n": {"type": "string", "description": "(maxLength: 3)"}}, **closed}
    assert found == {
        "type": "object",
        "properties": {
            "home": {**inside, "description": 'Where. (default: {"n": "a"})'},
            "other": {"anyOf": [{"$ref": "#/$defs/Home"}, {"type": "null"}]},
        },
        "required": ["home", "other"],
        "$defs": {"Home": inside},
        "additionalProperties": False,
    }
