"""The table of `complete`'s keywords, and everything that derives from it."""

import asyncio
import inspect
import re
import typing

import attrs
import pytest

import providerhub
from providerhub import Hub, InvalidRequestError, Model, ModelInfo, ProviderInfo, Request, ServerError, Settings
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
    "top_p": 0.9,
    "parallel_tool_calls": False,
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
    alike = set(SENT) - {"stop", "response_format"}  # a text becomes a tuple, and a class its schema
    assert {name: types[name] for name in alike} == {name: keywords[name] for name in alike}


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
    with pytest.raises(TypeError, match=r"'temprature'; did you mean 'temperature'\?.*options={'acme': {'temprature': "):
        Hub(Settings(autoload=False)).complete("m", "x", temprature=1)


@pytest.mark.parametrize(
    ("model", "provider"), [("m", "a"), (["b/x", "m"], "b"), (Model("x", "b"), "b"), (Model("x", "c"), "acme"), ((), "acme")]
)
def test_an_unknown_keyword_names_the_calls_own_provider(model, provider):
    hub = _hub(a=FakeProvider("x"), b=FakeProvider("x"))
    with pytest.raises(TypeError, match=rf"options={{'{provider}': {{'logprobs': "):
        hub.complete(model, "x", logprobs=True)


def _hub(**providers):
    infos = {name: ProviderInfo(name=name, models=(ModelInfo(f"m-{name}", aliases=("m",)),)) for name in providers}
    return Hub(Settings(autoload=False), providers=[(infos[name], provider) for name, provider in providers.items()])


def test_a_system_text_stands_before_the_messages():
    provider = FakeProvider("yes", "yes", "yes")
    hub, system = _hub(a=provider), {"role": "system", "content": "Be brief."}
    hub.complete("m", "Hello", system="Be brief.")
    hub.complete("m", [{"role": "user", "content": "Hello"}], system="Be brief.")
    hub.complete("m", "Hello", system="")
    sent = [list(call.request.messages) for call in provider.calls]
    assert sent == [[system, {"role": "user", "content": "Hello"}]] * 2 + [[{"role": "user", "content": "Hello"}]]


def test_no_tokens_are_sent_as_they_are():
    provider = FakeProvider("yes")
    _hub(a=provider).complete("m", "x", max_tokens=0)
    assert provider.calls[0].request.max_tokens == 0


def test_options_for_every_provider_stand_beneath_its_own():
    first, second = FakeProvider(ServerError("down")), FakeProvider("yes")
    every = {"user": "u", "top_k": 1, "extra_headers": {"X-A": "1", "X-B": "1"}, "extra_body": {"a": 1}}
    own = {"top_k": 2, "extra_headers": {"X-B": "2"}}
    _hub(a=first, b=second).complete("m", "x", options={"*": every, "b": own})
    assert first.calls[0].request.options == every
    assert second.calls[0].request.options == {
        "user": "u", "top_k": 2, "extra_headers": {"X-A": "1", "X-B": "2"}, "extra_body": {"a": 1},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"extra_headers": {"X-A": 1}}, "extra_headers"),
        ({"extra_headers": {"X-A": "a\nb"}}, "extra_headers"),
        ({"extra_headers": {"Content-Length": "5"}}, "frame the request"),
        ({"extra_query": "a=1"}, "extra_query"),
        ({"extra_body": [1]}, "extra_body"),
        ({"base_url": "http://x"}, "ProviderConfig"),
    ],
)
@pytest.mark.parametrize("provider", ["a", "*"])
def test_options_that_add_to_a_request_are_checked(provider, options, named):
    with pytest.raises(InvalidRequestError, match=named) as caught:
        _hub(a=FakeProvider("x")).complete("m", "x", options={provider: options})
    assert repr(provider) in str(caught.value)


@pytest.mark.parametrize(("name", "place"), [("api_key", r"ProviderConfig\(api_key"), ("max_retries", "keyword retry")])
def test_a_keyword_of_other_libraries_has_its_place_named(name, place):
    with pytest.raises(TypeError, match=f"unknown keyword argument '{name}'; .*{place}") as caught:
        _hub(a=FakeProvider("x")).complete("m", "x", **{name: "x"})
    assert "options" not in str(caught.value)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: providerhub.complete(model="m", message="Hi"), "complete() missing .*; 'message': did you mean 'messages'?"),  # type: ignore[call-overload]
        (lambda: asyncio.run(providerhub.acomplete(model="m", mesages="Hi")), "acomplete() missing .*'messages'?"),  # type: ignore[call-overload]
        (lambda: providerhub.complete_many([], concurency=2), "complete_many() .* 'concurency'; did you mean 'concurrency'?"),  # type: ignore[call-arg]
        (lambda: providerhub.complete_many([], x=2), "'x'; its own arguments are requests, "),  # type: ignore[call-arg]
        (lambda: Hub().complete_many([], timeout=2), "'timeout'; its own arguments are requests, "),  # type: ignore[call-arg]
        (lambda: Hub().complete(model="m", message="Hi"), "complete() missing .*; 'message': did you mean 'messages'?"),  # type: ignore[call-overload]
        (lambda: asyncio.run(Hub().acomplete(model="m", mesages="Hi")), "acomplete() missing .*'messages'?"),  # type: ignore[call-overload]
        (lambda: Hub().complete("m", prompt="Hi"), "complete() missing .*; 'prompt': did you mean 'messages'?"),  # type: ignore[call-overload]
        (lambda: Hub().embed("m", input="Hi"), "embed() missing .*; 'input': did you mean 'texts'?"),  # type: ignore[call-arg]
        (lambda: providerhub.ProviderConfig(base_url="x"), "ProviderConfig() .*'base_url'; did you mean 'url'?"),  # type: ignore[call-arg]
        (lambda: Hub().embed("m", text="Hi"), "embed() missing .*; 'text': did you mean 'texts'?"),  # type: ignore[call-arg]
        (lambda: Hub().explain("m", streem=True), "'streem'; did you mean 'stream'?"),  # type: ignore[call-arg]
        (lambda: Hub(setting=None), "Hub() .* 'setting'; did you mean 'settings'?"),  # type: ignore[call-arg]
        (lambda: providerhub.count_tokens("m"), "count_tokens() missing 1 required"),  # type: ignore[call-arg]
        (lambda: Hub().count_tokens("m"), "count_tokens() missing 1 required"),  # type: ignore[call-arg]
        (lambda: Hub().count_tokens("m", "Hi", stream=True), "count_tokens has no keyword 'stream'"),  # type: ignore[call-arg]
        (lambda: Hub().count_tokens("m", "Hi", settings=1), "unknown keyword argument 'settings'"),  # type: ignore[call-arg]
    ],
)
def test_arguments_that_do_not_fit_are_told_of_the_public_function(call, said):
    with pytest.raises(TypeError, match=said.replace("()", r"\(\)").rstrip("?")):
        call()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("max_completion_tokens", "; did you mean 'max_tokens'? A vendor's own keywords go into options, as in options={'a': "),
        ("functions", "; did you mean 'tools'? "),
        ("num_retries", "; did you mean 'retry'? "),
        ("fallbacks", "; name the models in order as the first argument"),
        ("drop_params", "'drop_params'; leave it out: the keywords in options['NAME'] go to the provider NAME alone"),
        ("user", "'user'; a vendor's own keywords go into options, as in options={'a': {'user': ...}}"),
        ("headers", "'headers'; a vendor's own keywords go into options"),
    ],
)
def test_a_keyword_of_another_library_has_its_argument_named(name, said):
    with pytest.raises(TypeError, match=re.escape(said)):
        _hub(a=FakeProvider("x")).complete("m", "x", **{name: "x"})


def test_a_function_or_class_of_another_library_has_its_name_here_named():
    for name, here in providerhub._ELSEWHERE.items():
        with pytest.raises(AttributeError, match=f"module 'providerhub' has no attribute '{name}'; did you mean '{here}'"):
            getattr(providerhub, name)
        assert hasattr(providerhub, here)


def test_an_error_of_a_type_inside_a_call_stays_as_it_is():
    with pytest.raises(TypeError, match="unknown keyword argument 'temprature'; did you mean 'temperature'"):
        providerhub.complete("m", "Hi", temprature=1)  # type: ignore[call-overload]
