"""Settings: argument, environment, default; and refused values."""

import pytest

import providerhub
from providerhub import (
    BreakerRules,
    BudgetRules,
    ConfigurationError,
    Model,
    ProviderConfig,
    ProviderInfo,
    RetryPolicy,
    Secret,
    Setting,
    Settings,
    Timeout,
)
from providerhub._settings.resolving import instruction, resolve, variable

INFO = ProviderInfo(
    name="acme",
    settings=(Setting("url", env="ACME_URL", required=True), Setting("region", env="ACME_REGION", default="eu")),
    needs_auth=True,
)


@pytest.mark.parametrize("aliases", [{"a": "a"}, {"a": "b", "b": ["x", "c"], "c": ["a"]}])
def test_aliases_in_a_circle_are_refused(aliases):
    with pytest.raises(ConfigurationError, match="circle"):
        Settings(aliases=aliases)


def test_aliases_may_be_a_name_a_model_or_a_sequence():
    settings = Settings(aliases={"a": "x", "b": ["a", Model("y/z")], "c": Model("y/z", "acme")})
    assert settings.aliases == {"a": ("x",), "b": ("a", Model("y/z")), "c": (Model("y/z", "acme"),)}


def test_an_unknown_strategy_is_refused_with_the_known_ones():
    with pytest.raises(ConfigurationError, match=r"strategy must be one of priority, .*, not .luck"):
        Settings(strategy="luck")


@pytest.mark.parametrize("wrong", [{"on_interrupt": "again"}, {"hedge": "yes"}, {"emulate_stream": 1}])
def test_defaults_of_calls_are_checked(wrong):
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        Settings(**wrong)


def test_the_environment_fills_in_what_was_not_given():
    environ = {"PROVIDERHUB_PLUGINS": "a, b,,", "PROVIDERHUB_BLOCK": "c", "PROVIDERHUB_DISABLE_AUTOLOAD": "1"}
    read = Settings().with_environment(environ)
    assert (read.allow, read.block, read.autoload) == ({"a", "b"}, {"c"}, False)
    given = Settings(allow=["x"], block=[], autoload=True).with_environment(environ)
    assert (given.allow, given.block, given.autoload) == ({"x"}, frozenset(), True)
    bare = Settings().with_environment({"PROVIDERHUB_PLUGINS": "", "PROVIDERHUB_DISABLE_AUTOLOAD": "0"})
    assert (bare.allow, bare.block, bare.autoload) == (None, frozenset(), True)


def test_an_argument_outranks_the_environment_which_outranks_a_file():
    environ = {"ACME_URL": "http://env", "ACME_API_KEY": "key"}
    config, missing = resolve(ProviderConfig(name="acme", url="http://argument"), INFO, environ)
    assert (config.url, config.api_key, config.options, missing) == ("http://argument", Secret("key"), {"region": "eu"}, ())
    config, _ = resolve(ProviderConfig(name="acme", url="http://file", origin="settings.toml"), INFO, environ)
    assert config.url == "http://env"
    config, _ = resolve(ProviderConfig(name="acme", url="http://file", origin="settings.toml"), INFO, {})
    assert config.url == "http://file"


def test_what_is_required_and_has_no_value_is_reported():
    _, missing = resolve(ProviderConfig(name="acme"), INFO, {"ACME_URL": ""})
    assert {setting.name for setting in missing} == {"url", "api_key"}


@pytest.mark.parametrize(
    ("instance", "expected"),
    [("acme", "ACME_URL"), ("acme-eu", "PROVIDERHUB_ACME_EU_URL"), ("a.b", "PROVIDERHUB_A_B_URL")],
)
def test_only_the_default_instance_uses_the_plugins_own_variable(instance, expected):
    assert variable(INFO.settings[0], instance, "acme") == expected


@pytest.mark.parametrize(
    ("config", "environ", "missing"),
    [
        ({}, {}, ["api_key"]),
        ({"url": "https://acme.example"}, {}, ["api_key"]),
        ({"url": "http://127.0.0.1:1"}, {}, []),
        ({}, {"ACME_URL": "http://127.0.0.1:1"}, []),
        ({}, {"ACME_API_KEY": "k"}, []),
    ],
)
def test_a_key_may_be_required_at_the_usual_address_only(config, environ, missing):
    settings = (
        Setting("url", env="ACME_URL", default="https://acme.example"),
        Setting("api_key", env="ACME_API_KEY", secret=True, required_unless="url"),
        Setting("spare", required_unless="no such setting"),
    )
    info = ProviderInfo(name="acme", settings=settings)
    _, found = resolve(ProviderConfig(name="acme", **config), info, environ)
    assert [setting.name for setting in found] == missing


def test_a_second_instance_does_not_see_the_firsts_environment():
    environ = {"ACME_URL": "http://first", "PROVIDERHUB_ACME_EU_URL": "http://eu", "PROVIDERHUB_ACME_EU_REGION": "x"}
    config, missing = resolve(ProviderConfig(name="acme-eu", plugin="acme"), INFO, environ)
    assert (config.url, config.options["region"]) == ("http://eu", "x")
    assert [setting.name for setting in missing] == ["api_key"]


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        (BreakerRules, {"window": 0}),
        (BreakerRules, {"calls": 0}),
        (BreakerRules, {"share": 1.5}),
        (BreakerRules, {"in_a_row": True}),
        (BreakerRules, {"open_first": float("inf")}),
        (BreakerRules, {"open_most": -1}),
        (BudgetRules, {"capacity": -1}),
        (BudgetRules, {"per_success": float("nan")}),
        (BudgetRules, {"interval": 0}),
    ],
)
def test_the_rules_of_breaker_and_budget_are_checked(kind, wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        kind(**wrong)


def test_breaker_and_budget_are_those_of_the_settings():
    class Down:
        asked = 0

        def stream(self, request, call):
            self.asked += 1
            raise providerhub.ServerError("down", status=503)

    down = Down()
    settings = Settings(autoload=False, breaker=BreakerRules(in_a_row=2), budget=BudgetRules(capacity=0))
    hub = providerhub.Hub(settings, providers=[(ProviderInfo(name="a", models=(providerhub.ModelInfo("m"),)), down)])
    for _ in range(2):
        with pytest.raises(providerhub.ServerError):
            hub.complete("m", "Hello")
    assert down.asked == 2  # nothing was tried again
    hub.register(ProviderInfo(name="b", models=(providerhub.ModelInfo("m"),)), down)
    assert str(hub.explain("m").skipped[0]).startswith("a/m: breaker open")


CANARY = "canary-key-123"

WRONG_FIELDS = [
    ({"timeout": 5}, r"timeout must be a Timeout, such as Timeout\(total=30\), not int"),
    ({"retry": 3}, r"retry must be a RetryPolicy, such as RetryPolicy\(attempts=2\), not int"),
    ({"breaker": None}, r"breaker must be BreakerRules\(...\), not NoneType"),
    ({"budget": 1}, r"budget must be BudgetRules\(...\), not int"),
    ({"providers": [1]}, r"providers must be a mapping of names to ProviderConfig\(...\), not list"),
    ({"providers": {"a": {"api_key": CANARY}}}, r"providers must be a mapping .*, not {'a': dict}"),
    ({"prefer": ["a"]}, "prefer must be a mapping"),
    ({"autoload": "no"}, "autoload must be true or false, or None, not 'no'"),
    ({"allow": 5}, "allow and block must be a list of names, not 5"),
    ({"block": [b"x"]}, r"allow and block must be a list of names, not \[b'x'\]"),
    ({"aliases": ["a"]}, "aliases must be a mapping"),
    ({"aliases": {"a": None}}, "the alias 'a' must be a model or a list of models, not None"),
    ({"aliases": {"a": ["m", 5]}}, "the alias 'a' must be a model or a list of models"),
    ({"aliases": {"a": []}}, "the alias 'a' must be a model or a list of models"),
]


@pytest.mark.parametrize(("wrong", "told"), WRONG_FIELDS)
def test_a_field_of_the_wrong_type_is_told_without_what_it_holds(wrong, told):
    with pytest.raises(ConfigurationError, match=told) as caught:
        Settings(**wrong)
    assert CANARY not in str(caught.value)


NUMBERS = [
    (Timeout, "total"), (RetryPolicy, "backoff"), (BreakerRules, "window"), (BudgetRules, "interval"), (ProviderConfig, "weight"),
]  # fmt: skip


@pytest.mark.parametrize(("cls", "name"), NUMBERS)
def test_a_number_that_no_float_can_hold_is_refused(cls, name):
    with pytest.raises(ValueError, match=f"{name} must be a"):
        cls(**{name: 10**400})


# --- settings of a plugin that depend on others, or are converted -------------------------------------------------------


def _port(text):
    host, _, port = str(text).rpartition(":")
    if not port.isdigit():
        raise ValueError(f"{text!r} has no port; write it as host:port")
    return f"http://{host}:{port}"


def resolved(environ, *settings, **config):
    info = ProviderInfo(name="acme", settings=settings)
    given = ProviderConfig(name="acme", **config)
    completed, missing = resolve(given, info, environ)
    return completed, instruction(given, completed, "acme", missing)


def test_the_first_of_several_variables_that_is_set_counts():
    key = Setting("api_key", env=("ACME_KEY", "OLD_KEY"), secret=True, required=True)
    assert resolved({"OLD_KEY": "b"}, key)[0].api_key.reveal() == "b"
    assert resolved({"OLD_KEY": "b", "ACME_KEY": "a"}, key)[0].api_key.reveal() == "a"
    assert "ACME_KEY" in resolved({}, key)[1]
    assert Setting("x", env=["A", "B"]).variables == ("A", "B")
    assert (Setting("x").variables, Setting("x", env="A").variables) == ((), ("A",))
    with pytest.raises(ValueError, match="env"):
        Setting("x", env=(1,))


def test_a_value_is_converted_wherever_it_comes_from():
    url = Setting("url", env="ACME_HOST", convert=_port, default="127.0.0.1:1")
    count = Setting("count", convert=int)
    assert resolved({}, url)[0].url == "http://127.0.0.1:1"
    assert resolved({"ACME_HOST": "me:2"}, url)[0].url == "http://me:2"
    assert resolved({}, count, options={"count": "5"})[0].get("count") == 5
    assert resolved({}, count)[0].get("count") is None


def test_a_value_that_cannot_be_converted_is_named_with_its_fix():
    _, told = resolved({"ACME_HOST": "me"}, Setting("url", env="ACME_HOST", convert=_port))
    assert told == "ACME_HOST cannot be used: 'me' has no port; write it as host:port"
    assert "KeyError" not in resolved({"ACME_HOST": "x"}, Setting("url", env="ACME_HOST", convert={}.__getitem__))[1]


def test_a_default_may_depend_on_another_setting():
    region = Setting("region", env="ACME_REGION", default="eu")
    url = Setting("url", default=lambda values: f"https://{values['region']}.acme.example")
    key = Setting("api_key", secret=True, required_unless="url")
    assert resolved({}, url, region)[0].url == "https://eu.acme.example"
    assert resolved({"ACME_REGION": "us"}, url, region)[0].url == "https://us.acme.example"
    assert resolved({}, url, region, url="http://127.0.0.1:1")[0].url == "http://127.0.0.1:1"
    assert "api_key" in resolved({}, url, region, key)[1]
    assert resolved({}, url, region, key, url="http://127.0.0.1:1")[1] == ""


def test_a_default_that_fails_leaves_the_setting_without_a_value():
    completed, told = resolved({}, Setting("url", env="ACME_URL", required=True, default=lambda values: values["regoin"]))
    assert (completed.url, told) == (None, "set url (environment variable ACME_URL)")


def test_a_plugin_brings_timeouts_that_the_user_s_outrank():
    info = ProviderInfo(name="acme", timeout=Timeout(first_token=300, byte_idle=90))
    config, _ = resolve(ProviderConfig(name="acme", timeout=Timeout(byte_idle=5)), info, {})
    assert (config.timeout.first_token, config.timeout.byte_idle) == (300, 5)
    assert resolve(ProviderConfig(name="acme"), info, {})[0].timeout == info.timeout
