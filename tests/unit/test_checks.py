"""One vocabulary of checks: a value gets the same verdict as a field, as a key of the settings file and as an argument."""

from __future__ import annotations

import math

import pytest

from providerhub import (
    BreakerRules,
    BudgetRules,
    ConfigurationError,
    Hub,
    InvalidRequestError,
    Model,
    ModelInfo,
    ProviderConfig,
    ProviderInfo,
    RetryPolicy,
    Settings,
    Shared,
    Timeout,
)
from providerhub._settings.file import read
from providerhub._settings.table import KEYS, KINDS
from providerhub._values import checks
from providerhub.testing import FakeProvider, fake_hub

VALUES = [
    True, False, 0, 1, -1, 3, 0.0, 0.5, 1.0, 1.5, -0.5, 1e-9, 1e308, math.inf, -math.inf, math.nan, 10**400, -(10**400),
    "", " ", "a", "a/b", "true", "5", "priority", "raise",
    [], ["a"], ["a", ""], [1], [[]], {}, {"a": "b"}, {"a": 1}, {"type": "x"},
]  # fmt: skip
"""Values that TOML can write, so that they fit every way in."""

SECTIONS = {"timeout": Timeout, "retry": RetryPolicy, "breaker": BreakerRules, "budget": BudgetRules, "shared": Shared}
OF_PLUGINS = {"journal", "cache", "budgets"}
"""Tables that plugins check in `Settings`; in the file, their keys are checked too, to name the line."""


def _toml(value):
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name} = {_toml(item)}" for name, item in value.items()) + "}"
    return str(value)


def _accepts(function, *arguments, error=ValueError, **keywords):
    try:
        function(*arguments, **keywords)
    except error:
        return False
    return True


def _file_accepts(tmp_path, text):
    path = tmp_path / "settings.toml"
    path.write_text(text)
    path.chmod(0o600)
    return not read(str(path)).problems


def _fields():
    """Each key of the file that is a field of a value class, with the text that sets it and the class's constructor."""
    for key in KEYS:
        section, _, name = key.path.rpartition(".")
        if section in SECTIONS:
            yield key.path, f"[{section}]\n{name} = ", lambda v, cls=SECTIONS[section], name=name: cls(**{name: v})
        elif section == "providers.*" and name not in {"api_key", "options", "proxies", "model", "timeout", "client_key"}:
            yield (
                key.path,
                f"[providers.a]\n{name} = ",
                lambda v, name=name: Settings(providers={"a": ProviderConfig(**{name: v})}),
            )
        elif section == "providers.*.models.*" and name not in {"name", "timeout"}:
            yield key.path, f"[[providers.a.models]]\nname = 'm'\n{name} = ", lambda v, name=name: ModelInfo("m", **{name: v})
        elif not section and name not in {*SECTIONS, *OF_PLUGINS, "providers"}:
            yield key.path, f"{name} = ", lambda v, name=name: Settings(**{name: v})


FIELDS = {path: (text, make) for path, text, make in _fields()}


def test_the_fields_of_every_table_of_the_file_are_compared():
    assert {"timeout.total", "providers.*.weight", "providers.*.models.*.price_in", "strategy", "hedge"} <= FIELDS.keys()
    assert len(FIELDS) >= 40


@pytest.mark.parametrize("path", FIELDS)
def test_a_key_of_the_file_and_its_field_get_the_same_verdict(tmp_path, path):
    text, make = FIELDS[path]
    for value in VALUES:
        in_file = _file_accepts(tmp_path, text + _toml(value))
        as_argument = _accepts(make, value, error=(ValueError, ConfigurationError))
        if path in {"allow", "block"} and isinstance(value, str):
            # As an argument, a text with commas stands for a list of names, as in the environment variable.
            assert (in_file, as_argument) == (False, True), value
        else:
            assert in_file == as_argument, value


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_aliases_and_names_of_models_get_the_same_verdict(tmp_path, value):
    if not isinstance(value, dict):  # in the file, a table stands for a `Model`
        in_file = _file_accepts(tmp_path, f"[aliases]\nx = {_toml(value)}")
        assert in_file == _accepts(Settings, aliases={"x": value}, error=ConfigurationError)
    in_file = _file_accepts(tmp_path, f"[aliases]\nx = {{ name = {_toml(value)} }}")
    assert in_file == _accepts(Model, value) == _accepts(ModelInfo, value)


@pytest.mark.parametrize("value", [value for value in VALUES if isinstance(value, str)])
def test_a_providers_name_gets_the_same_verdict(tmp_path, value):
    assert _file_accepts(tmp_path, f"[providers.{_toml(value)}]\n") == _accepts(ProviderInfo, name=value)


ARGUMENTS = {
    "temperature": checks.NUMBER,
    "max_tokens": checks.at_least(0),
    "stop": checks.TEXT_OR_TEXTS,
    "seed": checks.WHOLE,
    "tools": checks.TOOLS,
    "response_format": checks.OUTPUT_FORMAT,
    "hedge": checks.FLAG,
    "timeout": checks.SECONDS,
    "on_interrupt": checks.one_of(("raise", "restart", "continue")),
}


@pytest.fixture(scope="module")
def hub():
    with fake_hub(FakeProvider("acme", models=("m",))) as made:
        yield made


@pytest.mark.parametrize("name", ARGUMENTS)
def test_an_argument_of_a_call_gets_the_same_verdict(hub: Hub, name):
    for value in VALUES:
        accepted = _accepts(hub.explain, "m", "Hello", **{name: value}, error=InvalidRequestError)
        assert accepted == ARGUMENTS[name].test(value), value


CHECKS = {name: check for name, check in vars(checks).items() if isinstance(check, checks.Check)}


@pytest.mark.parametrize("name", CHECKS)
def test_every_check_has_a_verdict_on_every_value(name):
    check = CHECKS[name]
    for value in [*VALUES, None, b"", b"a", (), ("a",), object()]:
        verdict = check.test(value)
        assert verdict in {True, False}, value
        assert _accepts(check.check, value, "field") == verdict, value
        assert _accepts(check.check, value, "field", InvalidRequestError, error=InvalidRequestError) == verdict, value
        assert check.or_none.test(value) == (verdict or value is None), value
    assert check.or_none.test(None)


def test_every_kind_of_key_is_in_use():
    assert {key.kind for key in KEYS} == KINDS.keys()


def test_a_message_names_the_field_the_rule_and_the_value():
    with pytest.raises(ValueError, match=r"^connect must be a positive, finite number of seconds, not 0$"):
        Timeout(connect=0)
    with pytest.raises(InvalidRequestError, match=r"^n must be a whole number, 3 or more, not 2$"):
        checks.at_least(3).check(2, "n", InvalidRequestError)


def test_a_message_about_a_mapping_shows_no_values():
    with pytest.raises(ValueError, match=r"^options must be a mapping, not \{1: str\}$"):
        checks.MAPPING.check({1: "canary"}, "options")
    with pytest.raises(ValueError, match=r"^options must be a mapping, not str$"):
        checks.MAPPING.check("canary", "options")
