"""The table of `complete`'s keywords, and what derives from it."""

import inspect
import typing

import attrs
import pytest

import providerhub
from providerhub import Hub, InvalidRequestError, ModelInfo, ProviderInfo, Request, ServerError, Settings
from providerhub._calling.keywords import KEYWORDS, Knobs
from providerhub.testing import FakeProvider

VALUES = {
    "temperature": 0.5,
    "max_tokens": 7,
    "stop": ["END"],
    "tools": [{"type": "function", "function": {"name": "f"}}],
    "tool_choice": "auto",
    "response_format": {"type": "json_object"},
    "reasoning": "low",
    "seed": 3,
}
"""A value for each keyword that a provider gets."""

SENT = [name for name, keyword in KEYWORDS.items() if keyword.sent]


def test_every_keyword_that_is_sent_has_its_value_above():
    assert VALUES.keys() == set(SENT)


def test_the_fields_of_a_request_are_the_keywords_that_are_sent():
    own = {"model", "messages", "stream", "options"}
    assert [field.name for field in attrs.fields(Request) if field.name not in own] == SENT


def test_a_field_has_the_type_of_its_keyword():
    types = inspect.get_annotations(Request, eval_str=True)
    keywords = typing.get_type_hints(Knobs)
    assert {name: types[name] for name in SENT if name != "stop"} == {name: keywords[name] for name in SENT if name != "stop"}


@pytest.mark.parametrize("function", [Hub.complete, Hub.acomplete, Hub.explain])
def test_help_describes_each_keyword(function):
    _describes_all(function)


@pytest.mark.parametrize("name", ["complete", "acomplete", "explain"])
def test_help_of_the_modules_function_describes_each_keyword(name):
    _describes_all(getattr(providerhub, name))


def _describes_all(function):
    text = inspect.getdoc(function)
    for name, keyword in KEYWORDS.items():
        assert f"\n    {name}: {keyword.text.splitlines()[0]}\n" in text
    assert "**knobs" not in text


@pytest.mark.parametrize("name", SENT)
def test_no_field_is_lost_on_the_way_to_the_second_candidate(name):
    first, second = FakeProvider(ServerError("down")), FakeProvider("yes")
    infos = [ProviderInfo(name=n, models=(ModelInfo(f"m-{n}", aliases=("m",)),)) for n in ("a", "b")]
    hub = Hub(Settings(autoload=False), providers=list(zip(infos, (first, second), strict=True)))
    hub.complete("m", "x", options={"b": {"n": 1}}, **{name: VALUES[name]})
    sent = second.calls[0].request
    assert (getattr(sent, name), sent.model, sent.options) == (VALUES[name], "m-b", {"n": 1})


@pytest.mark.parametrize("name", [name for name in KEYWORDS if name != "options"])
def test_a_wrong_value_is_named(name):
    hub = Hub(Settings(autoload=False), providers=[(ProviderInfo(name="a", models=(ModelInfo("m"),)), FakeProvider("x"))])
    with pytest.raises(InvalidRequestError, match=f"^{name} must be "):
        hub.complete("m", "x", **{name: object()})


def test_an_unknown_keyword_names_the_nearest_one_and_options():
    with pytest.raises(TypeError, match=r"'temprature'; did you mean 'temperature'\?.*options="):
        Hub(Settings(autoload=False)).complete("m", "x", temprature=1)
