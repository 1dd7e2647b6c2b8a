"""The candidates of a request, their order, and the reasons for excluding the others."""

import pytest

from providerhub import (
    AuthenticationError,
    Candidate,
    ConfigurationError,
    Finish,
    Hub,
    InvalidRequestError,
    Model,
    ModelInfo,
    ModelNotFoundError,
    NoCapableProviderError,
    ProviderConfig,
    ProviderConnectionError,
    ProviderInfo,
    RetryPolicy,
    ServerError,
    Setting,
    Settings,
    audio,
    file,
)

TOOLS = [{"type": "function", "function": {"name": "f"}}]
IMAGE = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}]
SCHEMA = {"type": "json_schema", "json_schema": {"name": "x", "schema": {}}}


def _hub(scripted, models, settings=None, **configs):
    hub = Hub(settings or Settings(autoload=False))
    for name, entries in models.items():
        info = ProviderInfo(name=name, models=tuple(entries))
        hub.register(info, scripted(), config=configs.get(name))
    return hub


def _plan(hub, *args, **knobs):
    return [str(candidate) for candidate in hub.explain(*args, **knobs).candidates]


def _skips(hub, *args, **knobs):
    return {skip.provider: skip.reason for skip in hub.explain(*args, **knobs).skipped}


def test_exact_before_alias_before_longest_prefix_before_name(scripted):
    models = {
        "a": ["gp*"],
        "b": ["gpt-*"],
        "c": [ModelInfo("other", aliases=("gpt-4",))],
        "d": ["gpt-4"],
        "e": ["gpt-*"],
        "f": ["claude"],
    }
    hub = _hub(scripted, models)
    assert _plan(hub, "gpt-4") == ["d/gpt-4", "c/other", "b/gpt-4", "e/gpt-4", "a/gpt-4"]
    assert [c.match for c in hub.explain("gpt-4").candidates] == ["exact", "alias", "prefix", "prefix", "prefix"]
    assert [c.entry for c in hub.explain("gpt-4").candidates] == ["gpt-4", "other", "gpt-*", "gpt-*", "gp*"]


def test_an_instance_is_tried_once_by_its_best_match(scripted):
    hub = _hub(scripted, {"a": ["gpt-*", "gpt-4", ModelInfo("x", aliases=("gpt-4",)), "*"]})
    assert _plan(hub, "gpt-4") == ["a/gpt-4"]
    assert _plan(hub, "gpt-5") == ["a/gpt-5"]
    assert hub.explain("gpt-5").candidates[0].entry == "gpt-*"


def test_a_pin_leaves_the_others_out(scripted):
    hub = _hub(scripted, {"a": ["m"], "b": ["m"]})
    assert _plan(hub, "b/m") == ["b/m"]
    assert _plan(hub, Model("m", "b")) == ["b/m"]
    assert _plan(hub, "m") == ["a/m", "b/m"]


def test_a_slash_pins_only_where_a_provider_has_that_name(scripted):
    hub = _hub(scripted, {"a": ["meta-llama/x", "b/m"], "b": ["m"]})
    assert _plan(hub, "meta-llama/x") == ["a/meta-llama/x"]
    assert _plan(hub, "a/meta-llama/x") == ["a/meta-llama/x"]
    assert _plan(hub, "b/m") == ["b/m"]
    assert _plan(hub, Model("b/m")) == ["a/b/m"]


def test_a_pin_to_an_unknown_provider_is_an_error_that_names_the_known_ones(scripted):
    with pytest.raises(ModelNotFoundError, match=r"'z'.*a, b"):
        _hub(scripted, {"a": ["m"], "b": ["m"]}).explain(Model("m", "z"))


def test_a_pinned_provider_without_declared_models_matches_every_name(scripted):
    hub = _hub(scripted, {"a": [], "b": ["m"]})
    assert _plan(hub, "a/anything") == ["a/anything"]
    assert _plan(hub, "m") == ["b/m"]


def test_a_sequence_is_an_order_of_preference(scripted):
    hub = _hub(scripted, {"a": ["m", "n"], "b": ["m", "n"]})
    assert _plan(hub, ["n", "m"]) == ["a/n", "b/n", "a/m", "b/m"]
    assert _plan(hub, ["b/m", Model("n", "a"), "m"]) == ["b/m", "a/n", "a/m"]
    assert _plan(hub, ["absent", "m"]) == ["a/m", "b/m"]


@pytest.mark.parametrize("model", [[], (), 5, None, [5], b"m"])
def test_an_invalid_model_is_refused(scripted, model):
    with pytest.raises(InvalidRequestError, match="model"):
        _hub(scripted, {"a": ["m"]}).explain(model)


def test_aliases_in_the_settings_are_followed(scripted):
    settings = Settings(autoload=False, aliases={"best": ["fast", "a/n"], "fast": "m"})
    assert _plan(_hub(scripted, {"a": ["m", "n"], "b": ["m"]}, settings), "best") == ["a/m", "b/m", "a/n"]


def test_the_users_priority_comes_before_the_kind_of_match_and_after_the_sequence(scripted):
    configs = {"b": ProviderConfig(priority=5), "c": ProviderConfig(priority=-1)}
    hub = _hub(scripted, {"a": ["m", "n"], "b": ["*"], "c": ["m"]}, **configs)
    assert _plan(hub, "m") == ["b/m", "a/m", "c/m"]
    assert _plan(hub, ["a/n", "m"]) == ["a/n", "b/m", "a/m", "c/m"]


CAPABILITIES = [
    ("supports_stream", "no stream", {"stream": True}),
    ("supports_tools", "no tools", {"tools": TOOLS}),
    ("supports_images", "no images", {"messages": IMAGE}),
    ("supports_audio", "no audio", {"messages": ["What is said?", audio(b"ID3\x04")]}),
    ("supports_files", "no files", {"messages": ["Sum it up.", file(b"%PDF-1.7")]}),
    ("supports_json_schema", "no json schema", {"response_format": SCHEMA}),
]


@pytest.mark.parametrize(("name", "reason", "knobs"), CAPABILITIES)
def test_known_true_before_unknown_and_false_left_out(scripted, name, reason, knobs):
    models = {
        "a": [ModelInfo("m", **{name: False})],
        "b": [ModelInfo("m")],
        "c": [ModelInfo("m", **{name: True})],
    }
    hub = _hub(scripted, models)
    assert _plan(hub, "m", **knobs) == ["c/m", "b/m"]
    assert _skips(hub, "m", **knobs) == {"a": reason}
    assert _plan(hub, "m") == ["a/m", "b/m", "c/m"]


def test_the_parts_of_a_message_may_stand_in_a_tuple(scripted):
    parts = ({"type": "text", "text": "x" * 1000}, *IMAGE[0]["content"])
    models = {"a": [ModelInfo("m", supports_images=False)], "b": [ModelInfo("m", context_window=100)], "c": [ModelInfo("m")]}
    hub = _hub(scripted, models)
    knobs = {"messages": [{"role": "user", "content": parts}]}
    assert _plan(hub, "m", **knobs) == ["c/m"]
    assert set(_skips(hub, "m", **knobs)) == {"a", "b"}


def test_only_a_model_that_declares_prefill_continues_a_broken_stream(scripted):
    models = {"a": ["m"], "b": ["m"], "c": [ModelInfo("m", supports_prefill=True)]}
    hub = _hub(scripted, models)
    assert _plan(hub, "m", on_interrupt="continue") == ["a/m", "b/m", "c/m"]  # before the first content, each may answer

    class Broken:
        def stream(self, request, call):
            yield "Hel"
            raise ProviderConnectionError("reset")

    class Continues:
        def stream(self, request, call):
            assert request.messages[-1] == {"role": "assistant", "content": "Hel"}
            yield "lo"
            yield Finish("stop")

    hub = Hub(Settings(autoload=False))
    for (name, entries), provider in zip(models.items(), (Broken(), Broken(), Continues()), strict=True):
        hub.register(ProviderInfo(name=name, models=tuple(entries)), provider)
    with hub.complete("m", "Hello", stream=True, on_interrupt="continue") as stream:
        assert "".join(stream) == "Hello"
    route = stream.completion.route
    assert [attempt.provider for attempt in route.attempts] == ["a", "c"]
    assert {skip.provider: skip.reason for skip in route.skipped} == {"b": "no prefill"}


@pytest.mark.parametrize("knobs", [{"tools": TOOLS}, {"response_format": SCHEMA}, {"response_format": {"type": "json_object"}}])
def test_carrying_on_is_refused_where_it_would_splice(scripted, knobs):
    hub = _hub(scripted, {"b": [ModelInfo("m", supports_prefill=True)]})
    with pytest.raises(InvalidRequestError, match="continue"):
        hub.explain("m", on_interrupt="continue", **knobs)


def test_streaming_without_a_provider_that_streams_is_an_error_unless_emulated(scripted):
    hub = _hub(scripted, {"a": [ModelInfo("m", supports_stream=False)]})
    with pytest.raises(NoCapableProviderError, match="no stream") as caught:
        hub.complete("m", "Hello", stream=True)
    assert [skip.reason for skip in caught.value.route.skipped] == ["no stream"]
    with hub.complete("m", "Hello", stream=True, emulate_stream=True) as stream:
        assert "".join(stream) == "Hello"


def test_a_window_that_is_too_small_is_left_out(scripted):
    models = {"a": [ModelInfo("m", context_window=1000)], "b": [ModelInfo("m", context_window=100_000)], "c": ["m"]}
    hub = _hub(scripted, models)
    assert _plan(hub, "m", "x" * 100) == ["a/m", "b/m", "c/m"]
    assert _plan(hub, "m", "x" * 10_000) == ["b/m", "c/m"]
    assert _skips(hub, "m", "x" * 10_000) == {"a": "context window"}
    assert _plan(hub, "m", "x", max_tokens=2000) == ["b/m", "c/m"]


def test_the_estimate_is_a_lower_bound_that_leaves_out_no_request_that_fits(scripted):
    hub = _hub(scripted, {"a": [ModelInfo("m", context_window=8192)]})
    english = "The quick brown fox jumps over the lazy dog. " * 800  # some 8,000 tokens
    table = "x" + " " * 100_000
    assert _plan(hub, "m", english) == _plan(hub, "m", table) == ["a/m"]


CALL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "x" * 10_000}}


@pytest.mark.parametrize(
    ("messages", "knobs"),
    [
        ("x", {"tools": [{"type": "function", "function": {"name": "f", "description": "x" * 10_000}}]}),
        ([{"role": "user", "content": IMAGE[0]["content"] * 20}], {}),
        ([{"role": "user", "content": "x"}, {"role": "assistant", "tool_calls": [CALL]}], {}),
        ([{"role": "user", "content": "x"}] * 400, {}),
    ],
)
def test_the_estimate_counts_tools_images_tool_calls_and_messages(scripted, messages, knobs):
    hub = _hub(scripted, {"a": [ModelInfo("m", context_window=1000)], "b": ["m"]})
    assert _plan(hub, "m", messages, **knobs) == ["b/m"]


def test_an_unknown_window_comes_after_one_that_is_known_to_be_large_enough(scripted):
    models = {"a": ["m"], "b": [ModelInfo("m", context_window=1000)], "c": [ModelInfo("m", context_window=100_000)]}
    hub = _hub(scripted, models)
    assert _plan(hub, "m", "x") == ["a/m", "b/m", "c/m"]
    assert _plan(hub, "m", "x" * 10_000) == ["c/m", "a/m"]


def test_the_error_for_an_unknown_name_names_similar_ones(scripted):
    hub = _hub(scripted, {"a": ["gpt-4", "claude-3"], "b": [ModelInfo("x", aliases=("gpt-4o",))]})
    with pytest.raises(ModelNotFoundError) as caught:
        hub.complete("gpt4", "Hello")
    assert "'gpt4'" in str(caught.value)
    assert "did you mean 'gpt-4'" in str(caught.value)
    assert "claude-3" not in str(caught.value)
    with pytest.raises(ModelNotFoundError, match=r"'absent'\. Known models: claude-3, gpt-4, gpt-4o, x$"):
        hub.complete("absent", "Hello")
    assert isinstance(caught.value, LookupError)


def test_the_beginning_of_many_names_is_no_suggestion(scripted):
    with pytest.raises(ModelNotFoundError) as caught:
        _hub(scripted, {"a": ["openai.*"]}).complete("openai", "Hello")
    assert "did you mean" not in str(caught.value)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("claude-sonnet-4-5", "no provider has the model 'claude-sonnet-4-5'; try: pip install providerhub-anthropic"),
        ("a:m", "no provider has the model 'a:m'; did you mean 'a/m'?"),
        ("a-large", "no provider has the model 'a-large'; did you mean 'a/a-large'?"),
        ("groq/llama-3.3-70b", "; 'groq' is not an installed provider: pip install providerhub-compatible"),
        ("a_ai/m-2", "no provider has the model 'a_ai/m-2'; 'a_ai' is not an installed provider: did you mean 'a'?"),
        ("gemini/gemini-2.5-flash", "; 'gemini' is not an installed provider: pip install providerhub-gemini"),
    ],
)
def test_the_error_for_an_unknown_name_names_the_plugin_or_the_spelling(scripted, model, said):
    with pytest.raises(ModelNotFoundError) as caught:
        _hub(scripted, {"a": ["m"]}).complete(model, "Hello")
    assert said in str(caught.value)


def test_an_installed_provider_without_the_model_is_not_called_missing(scripted):
    with pytest.raises(ModelNotFoundError, match=r"no provider has the model 'gemini/zz'\. Known models: m$"):
        _hub(scripted, {"gemini": ["m"]}).complete("gemini/zz", "Hello")


def test_the_error_for_vendors_without_a_key_names_the_variable_of_each_model(scripted):
    settings = Settings(allow={"openai", "anthropic"})
    with pytest.raises(ConfigurationError) as caught:
        Hub(settings).complete(["gpt-4o", "claude-sonnet-4-5"], "Hello")
    assert "openai (set OPENAI_API_KEY)" in str(caught.value)
    assert "ANTHROPIC_API_KEY" in str(caught.value)
    assert "did you mean" not in str(caught.value)


def test_a_similar_name_of_a_provider_that_cannot_answer_comes_with_its_setting(scripted):
    with pytest.raises(ModelNotFoundError, match=r"'claude-opus-5'.* \(anthropic is not configured: .*ANTHROPIC_API_KEY"):
        Hub(Settings(allow={"anthropic"})).complete("claudee-opus-5", "Hello")


@pytest.mark.parametrize("ready", ["a", "z"])
def test_a_similar_name_that_one_of_two_providers_can_serve_comes_without_a_setting(scripted, ready):
    key = Setting("api_key", env="ACME_API_KEY", required=True, secret=True)
    providers = [
        (ProviderInfo(name=name, models=(ModelInfo("model-x"),), settings=() if name == ready else (key,)), scripted())
        for name in ("a", "z")
    ]
    hub = Hub(Settings(autoload=False), providers=providers)
    with pytest.raises(ModelNotFoundError, match=r"did you mean 'model-x'\?$"):
        hub.complete("model-z", "Hello")


def test_without_any_plugin_the_error_names_the_install_command():
    with pytest.raises(ModelNotFoundError, match="pip install providerhub-openai"):
        Hub(Settings(autoload=False)).complete("gpt-4", "Hello")


def test_an_unknown_strategy_is_refused(scripted):
    with pytest.raises(InvalidRequestError, match="luck"):
        _hub(scripted, {"a": ["m"]}).explain("m", strategy="luck")


def test_the_default_order_is_the_same_on_every_run(scripted):
    hub = _hub(scripted, {name: ["m"] for name in "dbca"})
    assert {tuple(_plan(hub, "m")) for _ in range(20)} == {("a/m", "b/m", "c/m", "d/m")}


def test_round_robin_takes_turns(scripted):
    hub = _hub(scripted, {name: ["m"] for name in "abc"}, Settings(autoload=False, strategy="round_robin"))
    assert [hub.complete("m", "x").provider for _ in range(6)] == list("abcabc")


SPREAD = {"a": ["gpt-4o"], "b": [ModelInfo("dep-4o", aliases=("gpt-4o",))], "c": ["gpt-*"]}


def _asked(hub, model, strategy, calls=60):
    return {str(hub.complete(model, "x", strategy=strategy).provider) for _ in range(calls)}


@pytest.mark.parametrize("strategy", ["weighted", "round_robin"])
def test_exact_name_alias_and_prefix_are_equal_for_strategies_that_spread(scripted, strategy):
    hub = _hub(scripted, SPREAD)
    assert _asked(hub, "gpt-4o", strategy) == {"a", "b", "c"}
    assert _plan(hub, "gpt-4o") == ["a/gpt-4o", "b/dep-4o", "c/gpt-4o"]


@pytest.mark.parametrize("strategy", ["weighted", "round_robin"])
@pytest.mark.parametrize("model", ["fast", ["a/gpt-4o", "c/gpt-4o", Model("gpt-4o", "b")], ["fast", "a/x"]])
def test_strategies_spread_over_the_names_of_one_model(scripted, strategy, model):
    settings = Settings(autoload=False, aliases={"fast": ["a/gpt-4o", "b/dep-4o", "gpt-4o"]})
    hub = _hub(scripted, {**SPREAD, "d": ["x"]}, settings)
    assert _asked(hub, model, strategy) == {"a", "b", "c"}


@pytest.mark.parametrize("strategy", ["weighted", "round_robin", "cheapest", "fastest"])
def test_strategies_do_not_spread_over_models_that_the_caller_likes_less(scripted, strategy):
    hub = _hub(scripted, {"a": ["m"], "b": [ModelInfo("n", price_in=0, price_out=0)]})
    assert _asked(hub, ["m", "n"], strategy, 10) == {"a"}


def test_cheapest_compares_the_names_of_one_alias(scripted):
    models = {"a": [ModelInfo("big", price_in=5, price_out=5)], "b": [ModelInfo("small", price_in=1, price_out=1)]}
    hub = _hub(scripted, models, Settings(autoload=False, aliases={"any": ["big", "small"]}))
    assert _plan(hub, "any", strategy="cheapest") == ["b/small", "a/big"]
    assert _plan(hub, "any") == ["a/big", "b/small"]


def test_a_plan_knows_which_candidates_are_the_same_model(scripted):
    hub = _hub(
        scripted, {"a": ["m", "n"], "b": ["m"], "c": ["other"]}, Settings(autoload=False, aliases={"best": ["m", "c/other"]})
    )

    def groups(model):
        return {(c.provider, c.model): c.group for c in hub.explain(model).candidates}

    assert {*groups("m").values(), *groups("best").values(), *groups(["a/m", "b/m"]).values()} == {0}
    assert groups(["a/m", "n", "b/m"]) == {("a", "m"): 0, ("b", "m"): 0, ("a", "n"): 1}
    assert groups(["best", "n"]) == {("a", "m"): 0, ("b", "m"): 0, ("c", "other"): 0, ("a", "n"): 2}


def test_aliases_of_aliases_are_resolved_once_each(scripted):
    aliases = {f"level{n}": [f"level{n + 1}", f"other{n + 1}"] for n in range(60)}
    aliases |= {f"other{n}": [f"level{n + 1}", f"other{n + 1}"] for n in range(1, 60)} | {"level60": ["m"], "other60": ["m"]}
    assert _plan(_hub(scripted, {"a": ["m"]}, Settings(autoload=False, aliases=aliases)), "level0") == ["a/m"]


def test_cheapest_knows_prices_and_puts_unknown_ones_last(scripted):
    models = {
        "a": ["m"],
        "b": [ModelInfo("m", price_in=3, price_out=9)],
        "c": [ModelInfo("m", price_in=1, price_out=2)],
        "d": [ModelInfo("m", price_in=2, price_out=0, price_currency="EUR")],  # cannot be compared
        "e": [ModelInfo("m", price_in=1, price_out=0, price_currency="EUR")],
    }
    assert _plan(_hub(scripted, models), "m", strategy="cheapest") == ["c/m", "b/m", "e/m", "d/m", "a/m"]


def test_weighted_draws_all_and_never_the_one_of_weight_zero_first(scripted):
    configs = {"a": ProviderConfig(weight=0.0), "b": ProviderConfig(weight=5.0)}
    hub = _hub(scripted, {name: ["m"] for name in "abc"}, **configs)
    seen = {hub.complete("m", "x", strategy="weighted").provider for _ in range(300)}
    assert seen == {"b", "c"}


def test_fastest_tries_the_unmeasured_first(scripted):
    hub = _hub(scripted, {name: ["m"] for name in "ab"})
    hub.complete("a/m", "x", stream=True).completion  # noqa: B018 -- the property is read for its effect
    with hub.complete("a/m", "x", stream=True) as stream:
        list(stream)
    assert _plan(hub, "m", strategy="fastest") == ["b/m", "a/m"]


@pytest.mark.parametrize("strategy", ["priority", "round_robin", "weighted", "fastest", "cheapest"])
def test_explain_changes_no_state_and_sends_nothing(scripted, strategy):
    provider = scripted()
    hub = Hub(Settings(autoload=False, strategy=strategy))
    for name in "abc":
        hub.register(ProviderInfo(name=name, models=("m",)), provider)
    plans = {str(hub.explain("m", "x", stream=True, temperature=0.5)) for _ in range(10)}
    assert len(plans) == 1
    assert provider.requests == []


def test_explain_does_not_take_the_probe(scripted):
    hub = _failing(scripted, "a")
    for _ in range(3):
        assert _plan(hub, "m") == ["a/m"]


def _failing(scripted, *names):
    """A hub in which every named provider has failed five times."""
    hub = Hub(Settings(autoload=False, retry=RetryPolicy(attempts=1)))
    for name in names:
        hub.register(ProviderInfo(name=name, models=("m",)), scripted(*[[ServerError("x")]] * 5, ["fine"]))
        for _ in range(5):
            with pytest.raises(ServerError):
                hub.complete(f"{name}/m", "x")
    return hub


def test_an_open_breaker_is_left_out_with_its_reason(scripted):
    hub = _failing(scripted, "a")
    hub.register(ProviderInfo(name="b", models=("m",)), scripted())
    plan = hub.explain("m")
    assert plan.candidates == (Candidate("b", "m", "m"),)
    assert [(s.provider, s.reason) for s in plan.skipped] == [("a", "breaker open")]
    assert hub.complete("m", "x").route.skipped[0].reason == "breaker open"


def test_fault_56_all_breakers_open_the_soonest_is_tried(scripted):
    hub = _failing(scripted, "a", "b")
    plan = hub.explain("m")
    assert len(plan.candidates) == 1
    assert [skip.reason for skip in plan.skipped] == ["breaker open"]
    answer = hub.complete("m", "x")
    assert answer.text == "fine"
    assert answer.provider == plan.candidates[0].provider
    assert _plan(hub, "m") == [f"{answer.provider}/m"]


def test_a_rejected_key_is_left_alone_until_it_changes(scripted, monkeypatch, caplog):
    info = ProviderInfo(name="acme", models=("m",), needs_auth=True)
    monkeypatch.setenv("ACME_API_KEY", "sk-canary-old")
    hub = Hub(Settings(autoload=False))
    provider = scripted([AuthenticationError("no", status=401)], ["fine"])
    hub.register(info, provider)
    for _ in range(2):
        with pytest.raises(AuthenticationError):
            hub.complete("m", "x")
    assert len(provider.requests) == 1
    monkeypatch.setenv("ACME_API_KEY", "sk-canary-new")
    assert hub.complete("m", "x").text == "fine"
    assert "acme" in caplog.text
    assert "canary" not in caplog.text


def test_a_provider_without_its_key_is_left_out_and_another_answers(scripted):
    hub = _hub(scripted, {"b": ["m"]})
    hub.register(ProviderInfo(name="acme", models=("m",), needs_auth=True), scripted())
    assert _plan(hub, "m") == ["b/m"]
    (skip,) = hub.explain("m").skipped
    assert (skip.provider, skip.reason) == ("acme", "not configured")
    assert "ACME_API_KEY" in skip.detail


def test_a_misspelt_alias_is_suggested(scripted):
    hub = Hub(
        Settings(autoload=False, aliases={"assistant": ["a/m"]}), providers=[(ProviderInfo(name="a", models=("m",)), scripted())]
    )
    with pytest.raises(ModelNotFoundError, match="no provider has the model 'asistant'; did you mean 'assistant'"):
        hub.complete("asistant", "x")


def test_one_provider_without_its_key_is_named_with_the_variable(scripted):
    hub = _hub(scripted, {})
    hub.register(ProviderInfo(name="acme", models=("m",), needs_auth=True), scripted())
    said = r"^m: the provider 'acme' is not configured: set api_key \(environment variable ACME_API_KEY\)$"
    with pytest.raises(ConfigurationError, match=said):
        hub.complete("m", "x")


def test_models_in_a_config_are_added_to_the_declared_ones(scripted):
    hub = _hub(scripted, {"a": ["m"]}, a=ProviderConfig(models=("own", ModelInfo("fine-tuned/*"))))
    assert _plan(hub, "own") == ["a/own"]
    assert _plan(hub, "fine-tuned/x") == ["a/fine-tuned/x"]
    assert _plan(hub, "m") == ["a/m"]
