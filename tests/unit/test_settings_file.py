"""The settings file: its place, its meaning, and every mistake with its line and the fix."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import attrs
import platformdirs
import pytest

from providerhub import (
    BadRequestError,
    ConfigurationError,
    ContentPolicyError,
    Model,
    ModelInfo,
    ProviderConfig,
    RetryPolicy,
    Secret,
    Settings,
    Timeout,
)
from providerhub._settings.address import circle_of
from providerhub._settings.file import SettingsFile, read
from providerhub._settings.secrets import CommandKey, KeyringKey
from providerhub._settings.settings import settings_path, user_folder
from providerhub._settings.table import KEYS, KINDS, below
from providerhub._values import BreakerRules, BudgetRules

CANARY = "sk-canary-1f3c"
POSIX = pytest.mark.skipif(os.name != "posix", reason="file modes")


@pytest.fixture
def file(tmp_path):
    """Write a settings file that only its owner may read; returns its path."""

    def write(text, *, mode=0o600):
        path = tmp_path / "settings.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        path.chmod(mode)
        return str(path)

    return write


FULL = """
strategy = "fastest"
on_interrupt = "restart"
hedge = true
emulate_stream = true
allow = ["lockchat"]
block = ["x"]
autoload = false
[timeout]
connect = 3
total = 30.5
[retry]
attempts = 2
backoff = 0
[aliases]
fast = "gpt-4"
best = ["lockchat-eu/gpt-4", "fast", { name = "a/b", provider = "acme" }]
[prefer]
acme = "acme-official"
[providers.lockchat]
url = "https://one"
priority = 10
weight = 2.0
models = ["a-name", { name = "b", supports_stream = true, context_window = 8192, price_in = 1.5, aliases = ["c"] }]
ca_bundle = "ca.pem"
proxies = { https = "http://proxy:3128" }
options = { temperature = 0.5, nested = { a = 1 }, token = { env = "TOKEN" } }
[providers.lockchat-eu]
plugin = "lockchat"
api_key = { command = ["pass", "show", "x"], timeout = 5 }
[providers.lockchat-us]
plugin = "lockchat"
api_key = { keyring = "lockchat", username = "me" }
"""


def test_every_kind_of_value(file):
    path = file(FULL)
    settings = Settings.load(path, environ={})
    assert settings.strategy == "fastest"
    assert settings.on_interrupt == "restart"
    assert (settings.hedge, settings.emulate_stream, settings.autoload) == (True, True, False)
    assert (settings.allow, settings.block) == ({"lockchat"}, {"x"})
    assert settings.timeout == Timeout(connect=3, total=30.5)
    assert settings.retry == RetryPolicy(attempts=2, backoff=0)
    assert settings.aliases == {"fast": ("gpt-4",), "best": ("lockchat-eu/gpt-4", "fast", Model("a/b", "acme"))}
    assert settings.prefer == {"acme": "acme-official"}
    first = settings.providers["lockchat"]
    assert (first.url, first.priority, first.weight, first.origin) == ("https://one", 10, 2.0, path)
    assert first.models == (
        ModelInfo("a-name"),
        ModelInfo("b", supports_stream=True, context_window=8192, price_in=1.5, aliases=["c"]),
    )
    assert first.ca_bundle == str(Path(path).with_name("ca.pem"))
    assert first.proxies == {"https": "http://proxy:3128"}
    assert (first.options["temperature"], first.options["nested"]) == (0.5, {"a": 1})
    assert isinstance(first.options["token"], Secret)
    second = settings.providers["lockchat-eu"]
    assert (second.plugin, second.api_key.source) == ("lockchat", CommandKey(("pass", "show", "x"), 5))
    assert settings.providers["lockchat-us"].api_key.source == KeyringKey("lockchat", "me")


LIMITS = """\
ca_bundle = "all.pem"
trust_env = true
proxies = { https = "http://proxy:3128" }
[providers.a]
url = "http://gate.example"
headers = { X-Title = "my app" }
client_cert = "client.pem"
client_key = "/etc/client.key"
timeout = 30
concurrency = 4
rpm = 60
tpm = 90000.5
when_full = "wait"
allow_http = true
trust_env = false
[providers.a.model."big/1"]
supports_reasoning = true
rpm = 6
timeout = { first_token = 300 }
headers = { X-Title = "slow" }
"""


def test_the_limits_and_the_transport_of_a_provider_and_a_model(file):
    path = file(LIMITS)
    settings = Settings.load(path, environ={})
    beside = Path(path).with_name
    assert (settings.ca_bundle, settings.trust_env, settings.proxies) == (
        str(beside("all.pem")), True, {"https": "http://proxy:3128"},
    )  # fmt: skip
    config = settings.providers["a"]
    assert (config.headers, config.client_cert, config.client_key) == (
        {"X-Title": "my app"}, str(beside("client.pem")), "/etc/client.key",
    )  # fmt: skip
    assert (config.timeout, config.concurrency, config.rpm, config.tpm) == (Timeout(total=30), 4, 60, 90000.5)
    assert (config.when_full, config.allow_http, config.trust_env) == ("wait", True, False)
    assert config.model == {
        "big/1": ModelInfo("big/1", supports_reasoning=True, rpm=6, timeout=Timeout(first_token=300), headers={"X-Title": "slow"})
    }
    assert "my app" not in repr(config)
    assert "slow" not in repr(config)


def test_the_timeout_may_be_one_number(file):
    assert Settings.load(file("timeout = 60"), environ={}).timeout == Timeout(total=60)


def test_none_is_written_as_a_text_and_errors_by_name(file):
    text = """
timeout = { first_token = "none", head = 30 }
[retry]
beside_after = "none"
retry_after_max = "none"
also_on = ["ContentPolicyError", "BadRequestError"]
beside = false
patience = 0
[breaker]
open_most_slow = 60
stall = 5
[providers.acme.timeout]
head = "none"
first_token = 5
"""
    settings = Settings.load(file(text), environ={})
    assert settings.timeout == Timeout(head=30)
    assert settings.retry == RetryPolicy(also_on=(ContentPolicyError, BadRequestError), beside=False, patience=0)
    assert settings.breaker == BreakerRules(open_most_slow=60, stall=5)
    assert settings.providers["acme"].timeout == Timeout(first_token=5)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("timeout.head = 0", 'timeout.head must be a positive, finite number of seconds, or "none", not 0'),
        ('timeout.total = "none"', "timeout.total must be a positive, finite number of seconds, not a text"),
        ('retry.beside_after = "never"', 'or "none", not a text'),
        ('retry.also_on = ["Contents"]', 'a list of names of error classes, such as ["ContentPolicyError"], not this list'),
        ('retry.also_on = ["annotations"]', "a list of names of error classes"),
    ],
)
def test_a_wrong_none_or_error_class_is_told(file, text, said):
    with pytest.raises(ConfigurationError) as caught:
        Settings.load(file(text), environ={})
    assert said in str(caught.value)


def test_origins_tell_file_and_line(file):
    path = file(FULL)
    origins = Settings.load(path, environ={"PROVIDERHUB_TIMEOUT": "7"}).origins
    assert origins["strategy"] == f"{path}:2"
    assert origins["timeout.connect"] == f"{path}:10"
    assert origins["timeout.total"] == "environment variable PROVIDERHUB_TIMEOUT"
    assert origins["providers.lockchat-eu.api_key"] == f"{path}:{FULL[: FULL.index('api_key')].count(chr(10)) + 1}"


@pytest.mark.parametrize("text", ["", "# nothing\n", "\ufefftimeout = 600\n", "timeout = 600\r\n"])
def test_an_empty_file_a_byte_order_mark_and_either_newline(file, text):
    assert Settings.load(file(text), environ={}) == Settings().with_environment({})


WRONG = [
    ("timout = 60", 1, "unknown key 'timout'; did you mean 'timeout'?"),
    ("\n\n[retry]\nattemps = 3", 4, "unknown key 'retry.attemps'; did you mean 'attempts'?"),
    ("[providers.acme]\nurll = 'x'", 2, "unknown key 'providers.acme.urll'; did you mean 'url'?"),
    ("xyz = 1", 1, "the known ones here are timeout, "),
    ("api_key = 'x'", 1, "it belongs at 'providers.NAME.api_key'"),
    ("[providers.acme]\nbase_url = 'x'", 2, "did you mean 'url'? An option of the plugin belongs under [providers.acme.options]"),
    ("[providers.acme]\nregoin = 'x'", 2, "an option of the plugin belongs under [providers.acme.options]"),
    ("[providers.acme]\nusername = 'x'", 2, "it belongs at 'providers.NAME.api_key.username'"),
    ("[providers.acme.timeout]\nconect = 3", 2, "unknown key 'providers.acme.timeout.conect'; did you mean 'connect'?"),
    ("[providers.acme]\nrpm = 0", 2, "providers.acme.rpm must be a positive, finite number, not 0"),
    ("[providers.acme]\nconcurrency = 1.5", 2, "providers.acme.concurrency must be a whole number, 1 or more, not 1.5"),
    ("[providers.acme]\nwhen_full = 'elswhere'", 2, "did you mean 'elsewhere'?"),
    ("[providers.acme]\nheaders = { 'X Title' = 'a' }", 2, "providers.acme.headers must be a mapping of header names to texts"),
    ('[providers.acme]\nheaders = { X-Title = "a\\nb" }', 2, "providers.acme.headers must be a mapping of header names to texts"),
    ('[providers.acme.model."a"]\nprice_in = nan', 2, "providers.acme.model.a.price_in must be a finite number, zero or more"),
    ('[providers.acme.model."a"]\nname = "b"', 2, "unknown key 'providers.acme.model.a.name'"),
    ('[providers.acme.model."a".timeout]\ntotal = -1', 2, "providers.acme.model.a.timeout.total must be a positive"),
    ("timeout = 'long'", 1, "timeout must be a positive, finite number of seconds, or a table, not a text"),
    ("timeout = -1", 1, "timeout must be a positive, finite number of seconds, or a table, not -1"),
    ("timeout = nan", 1, "timeout must be a positive, finite number of seconds, or a table, not nan"),
    ("[timeout]\nconnect = true", 2, "timeout.connect must be a positive, finite number of seconds, not true"),
    ("[timeout]\nconnect = 0", 2, "timeout.connect must be a positive, finite number of seconds, not 0"),
    ("[retry]\nattempts = 0", 2, "retry.attempts must be a whole number, 1 or more, not 0"),
    ("[retry]\nattempts = 1.5", 2, "retry.attempts must be a whole number"),
    ("strategy = 'fastst'", 1, "not 'fastst'; did you mean 'fastest'?"),
    ("on_interrupt = 'again'", 1, "on_interrupt must be one of raise, restart, continue"),
    ("hedge = 1", 1, "hedge must be true or false, not a number"),
    ("allow = 'lockchat'", 1, 'allow must be a list of names, such as ["acme"], not a text'),
    ("allow = [1]", 1, "allow must be a list of names"),
    ("retry = 3", 1, "retry must be a table, not a number"),
    ("block = 1979-05-27", 1, 'block must be a list of names, such as ["acme"], not a date or time'),
    ("[aliases]\na = 'b'\nb = ['c', 'a']", 2, "aliases go in a circle: a → b → a"),
    ("[aliases]\na = []", 2, "aliases.a must name a model"),
    ("[aliases]\na = ['x',\n 3]", 3, "aliases.a must hold models"),
    ("[aliases]\na = { nam = 'x' }", 2, "aliases.a must hold models"),
    ("[aliases]\na = 3", 2, "aliases.a must be a model or a list of models"),
    ("[prefer]\nacme = 1", 2, "prefer.acme must be a text"),
    ("[providers]\nacme = 'x'", 2, "providers.acme must be a table, not a text"),
    ("[providers.'a/b']\nurl = 'x'", 1, "a provider's name must be a text that is not empty and holds no slash"),
    ('[providers."a\\nb"]\nurl = "x"', 1, "and no control character, not 'a\\nb'"),
    ("[providers.a]\nurl = ''", 2, "providers.a.url must be a text that is not empty, not an empty text"),
    ('[providers.a]\nclient_cert = "/a\\u0000"', 2, "must be a text that is not empty, not a text with a null character"),
    ('[providers.a]\napi_key = { file = "/a\\u0000" }', 2, "must be a text that is not empty, not a text with a null"),
    ("[providers.a]\napi_key = { command = [] }", 2, '"show", "acme"], not an empty list'),
    (f"a = {'[' * 3000}", 1, "this is not TOML: it is nested too deeply"),
    ('[providers.a.model.""]\nrpm = 1', 1, "providers.a.model must have names of models as keys, not ''"),
    ("[providers.a]\nweight = -1", 2, "providers.a.weight must be a finite number, zero or more, not -1"),
    ("[providers.a]\npriority = inf", 2, "providers.a.priority must be a finite number, not inf"),
    ("[providers.a]\nmodels = 'x'", 2, "providers.a.models must be a list of names and tables"),
    ("[providers.a.models.x]\nrpm = 1", 1, 'the values of one model belong in [providers.a.model."NAME"]'),
    ("[providers.a]\nmodel = ['x']", 2, 'a list of models is written models = ["NAME"]'),
    ("[providers.a.model.gpt-3.5-turbo]\nrpm = 1", 1, 'needs quotation marks: [providers.a.model."gpt-3.5-turbo"]'),
    ("[providers.a.model.x]\nrpm = 1\n[providers.a.model.v.1.2]\nrpm = 1", 3, 'quotation marks: [providers.a.model."v.1.2"]'),
    ("[providers.a]\nmodels = [\n1]", 3, "providers.a.models must hold names, or tables"),
    ("[providers.a]\nmodels = [{}]", 2, "providers.a.models must hold names, or tables"),
    ("[[providers.a.models]]\nname = 'x'\nsupports_tool = true", 3, "did you mean 'supports_tools'?"),
    (
        "[[providers.a.models]]\nname = 'x'\n[[providers.a.models]]\nname = 'y'\ncontext_window = '8k'",
        5,
        "must be a whole number",
    ),
    ("[providers.a.proxies]\nhttps = 1", 2, "providers.a.proxies.https must be a text"),
    ("[providers.a]\napi_key = 3", 2, 'providers.a.api_key must be a table such as { env = "VARIABLE" }'),
    ("[providers.a]\napi_key = ''", 2, "providers.a.api_key must not be empty"),
    ("[providers.a]\napi_key = {}", 2, "must have exactly one of env, file, command, keyring"),
    ("[providers.a]\napi_key = { env = 'A', keyring = 'b' }", 2, "must have exactly one of env, file, command, keyring"),
    ("[providers.a]\napi_key = { env = 'A', timeout = 3 }", 2, "providers.a.api_key.timeout belongs to command"),
    ("[providers.a]\napi_key = { env = 'A', username = 'u' }", 2, "providers.a.api_key.username belongs to keyring"),
    ("[providers.a]\napi_key = { command = 'pass' }", 2, "providers.a.api_key.command must be a program and its arguments"),
    ("[providers.a]\napi_key = { command = [] }", 2, "providers.a.api_key.command must be a program and its arguments"),
    ("[providers.a]\napi_key = { command = ['pass'], timeout = inf }", 2, "must be a positive, finite number of seconds"),
    ("[providers.a]\napi_key = { comand = ['pass'] }", 2, "did you mean 'command'?"),
    ("[providers.a.options]\nt = { env = 1 }", 2, "providers.a.options.t.env must be a text"),
    ("a = 1\nb = =", 2, "this is not TOML: Invalid value"),
    ("a = 1\na = 2", 2, "this is not TOML: Cannot overwrite a value"),
    ("timeout = 60\nx = [1,\n", 3, "this is not TOML"),
    (b"a = 1\nb = '\xff'", 2, "not UTF-8"),
    ("a = " + "[" * 5000, 1, "this is not TOML"),
    ("a = 1\ntimeout = " + "9" * 5000, 2, "a number has too many digits"),
    (b"#" * (1 << 20) + b"\n", 1, "larger than"),
]


@pytest.mark.parametrize(("text", "line", "said"), WRONG, ids=range(len(WRONG)))
def test_a_mistake_is_told_with_its_line(file, text, line, said):
    path = file(text)
    with pytest.raises(ConfigurationError) as raised:
        Settings.load(path, environ={})
    assert str(raised.value).startswith(f"{path}:{line}: ")
    assert said in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1


def test_aliases_that_meet_again_are_no_circle_however_many_ways_there_are():
    ladder = {f"a{number}": (f"a{number + 1}", f"a{number + 1}", "m") for number in range(2000)}
    assert circle_of(ladder) == ()
    assert circle_of({"x": ("a",), "a": ("b",), "b": ("m", "a")}) == ("a", "b", "a")


def test_all_mistakes_are_found_in_the_order_of_their_lines(file):
    path = file("[providers.a]\nurll = 'x'\nweight = -1\n[retry]\nattempts = 0\nx = 1\n")
    found = read(path)
    assert [problem.line for problem in found.problems] == [2, 3, 5, 6]
    assert "(and 3 more; `providerhub settings check` lists them)" in str(found.error)


def test_what_is_right_in_a_wrong_file_is_still_read(file):
    found = read(file("timout = 1\nstrategy = 'fastest'\n[retry]\nattempts = 0\nbackoff = 2\n"))
    assert found.values["strategy"] == "fastest"
    assert found.values["retry"] == RetryPolicy(backoff=2)


def test_an_error_pickles(file):
    error = read(file("timout = 1")).error
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


# --- where it is


def test_the_variable_names_the_file(file):
    path = file("strategy = 'fastest'")
    assert Settings.load(environ={"PROVIDERHUB_CONFIG": path}).strategy == "fastest"
    assert settings_path({"PROVIDERHUB_CONFIG": "~/x.toml"}) == str(Path("~/x.toml").expanduser())


def test_a_path_that_depends_on_the_working_directory_is_refused():
    with pytest.raises(ConfigurationError, match="PROVIDERHUB_CONFIG must be an absolute path"):
        settings_path({"PROVIDERHUB_CONFIG": "settings.toml"})


def test_a_file_that_was_named_must_be_there(tmp_path):
    for given in ({"path": tmp_path / "no.toml", "environ": {}}, {"environ": {"PROVIDERHUB_CONFIG": str(tmp_path / "no.toml")}}):
        with pytest.raises(ConfigurationError, match=r"no\.toml:1: the settings file cannot be read: No such file"):
            Settings.load(**given)


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(ConfigurationError, match="cannot be read"):
        Settings.load(tmp_path, environ={})


HOME = """
import os, sys
from providerhub import Settings
print(Settings.load().strategy)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="each platform has a place of its own")
def test_the_usual_place_is_the_users_and_never_the_working_directory(tmp_path):
    def strategy(**environ):
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PROVIDERHUB_", "XDG_"))}
        run = [sys.executable, "-c", HOME]
        done = subprocess.run(run, env=kept | environ, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True)
        return done.stdout.strip()

    home, xdg = tmp_path / "home", tmp_path / "xdg"
    for folder, name in ((home / ".config", "fastest"), (xdg, "cheapest")):
        (folder / "providerhub").mkdir(parents=True)
        (folder / "providerhub" / "settings.toml").write_text(f"strategy = '{name}'")
    for trap in (tmp_path / "settings.toml", tmp_path / "~" / ".config" / "providerhub" / "settings.toml"):
        trap.parent.mkdir(parents=True, exist_ok=True)
        trap.write_text("strategy = 'weighted'")
    assert strategy(HOME=str(home)) == "fastest"
    assert strategy(HOME=str(home), XDG_CONFIG_HOME=str(xdg)) == "cheapest"
    assert strategy(HOME=str(tmp_path / "empty")) == "priority"
    assert strategy(HOME="~") == "priority"


def test_a_user_without_a_home_has_no_settings_file(monkeypatch):
    # It would depend on the working directory.
    monkeypatch.setattr(os.path, "expanduser", str)
    monkeypatch.setattr(platformdirs, "user_config_dir", lambda *_, **__: "~/.config/providerhub")
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    assert settings_path({}) is None
    assert Settings.load(environ={"PROVIDERHUB_STRATEGY": "cheapest"}).strategy == "cheapest"


# --- who outranks whom


def test_the_environment_outranks_the_file_and_an_argument_both(file):
    path = file("strategy = 'fastest'\nallow = ['a']\nblock = ['b']\nautoload = true\ntimeout = { connect = 2, total = 9 }")
    environ = {
        "PROVIDERHUB_STRATEGY": "cheapest", "PROVIDERHUB_PLUGINS": "c", "PROVIDERHUB_BLOCK": "d",
        "PROVIDERHUB_DISABLE_AUTOLOAD": "1", "PROVIDERHUB_TIMEOUT": "7.5",
    }  # fmt: skip
    read_settings = Settings.load(path, environ=environ)
    assert (read_settings.strategy, read_settings.allow, read_settings.block) == ("cheapest", {"c"}, {"d"})
    assert (read_settings.autoload, read_settings.timeout) == (False, Timeout(connect=2, total=7.5))
    given = Settings(strategy="priority", allow=["a"], block=[], autoload=True, timeout=Timeout()).with_environment(environ)
    assert (given.strategy, given.allow, given.block, given.autoload, given.timeout) == (
        "priority", {"a"}, frozenset(), True, Timeout(),
    )  # fmt: skip
    changed = attrs.evolve(read_settings, strategy="weighted").with_environment(environ)
    assert changed.strategy == "weighted"
    left_open = Settings().with_environment(environ)
    assert (left_open.strategy, left_open.timeout.total) == ("cheapest", 7.5)


def test_autoload_may_be_switched_on_again(file):
    path = file("autoload = false")
    assert Settings.load(path, environ={"PROVIDERHUB_DISABLE_AUTOLOAD": "0"}).autoload is True
    assert Settings.load(path, environ={"PROVIDERHUB_DISABLE_AUTOLOAD": ""}).autoload is False


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PROVIDERHUB_TIMEOUT", "soon"),
        ("PROVIDERHUB_TIMEOUT", "-1"),
        ("PROVIDERHUB_TIMEOUT", "inf"),
        ("PROVIDERHUB_STRATEGY", "luck"),
    ],
)
def test_a_wrong_variable_is_named(name, value):
    with pytest.raises(ConfigurationError, match=f"^{name} must be .*{value}"):
        Settings().with_environment({name: value})
    with pytest.raises(ConfigurationError, match=f"^{name} must be .*{value}"):
        Settings.load(os.devnull, environ={name: value})


def test_settings_travel_to_another_process_as_they_are(file):
    for settings in (Settings(), Settings.load(file(FULL), environ={})):
        assert pickle.loads(pickle.dumps(settings)) == settings


# --- keys


@POSIX
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644])
def test_a_key_in_a_file_that_others_may_read_is_refused(file, mode):
    path = file(f"[providers.a]\napi_key = '{CANARY}'\n", mode=mode)
    with pytest.raises(ConfigurationError, match=f"chmod 600 {path}") as raised:
        Settings.load(path, environ={})
    assert CANARY not in str(raised.value)


def test_a_key_in_a_file_of_ones_own(file):
    config = Settings.load(file(f"[providers.a]\napi_key = '{CANARY}'\n"), environ={}).providers["a"]
    assert config.api_key.reveal() == CANARY
    assert CANARY not in repr(config)


@POSIX
def test_a_command_in_a_file_that_anybody_may_change_is_refused(file):
    path = file("[providers.a]\napi_key = { command = ['pass'] }\n", mode=0o666)
    with pytest.raises(ConfigurationError, match=f"chmod o-w {path}"):
        Settings.load(path, environ={})


@pytest.mark.parametrize(
    "text",
    [
        f"api_key = '{CANARY}'",
        f"'{CANARY}' = 1\nx = ",
        f"[providers.a]\napi_key = {CANARY}",
        f"[providers.a]\napi_kee = '{CANARY}'",
        f"[providers.a]\nurl = ['{CANARY}']",
        f"[providers.a]\npriority = '{CANARY}'",
        f"[providers.a]\nmodels = [['{CANARY}']]",
        f"[providers.a]\napi_key = ['{CANARY}']",
        f"[providers.a]\napi_key = {{ envv = '{CANARY}' }}",
        f"[aliases]\na = {{ x = '{CANARY}' }}",
        f"timeout = '{CANARY}'",
    ],
)
def test_a_key_in_a_wrong_place_is_in_no_error_and_no_traceback(file, text):
    path = file(text, mode=0o644)
    code = (
        "from providerhub import Settings\nimport sys, traceback\ntry:\n    Settings.load(sys.argv[1])\nexcept Exception as e:\n"
    )
    code += "    error = e\n    while error is not None:\n        for line in traceback.TracebackException.from_exception(error, "
    code += "capture_locals=True).format():\n            print(line)\n        error = error.__context__\n    sys.exit(3)\n"
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 3, done.stderr
    assert CANARY not in done.stdout + done.stderr


# --- the table


def _class_keys(prefix):
    return set(below(prefix))


@pytest.mark.parametrize(
    ("prefix", "cls", "but"),
    [
        ("timeout", Timeout, set()),
        ("retry", RetryPolicy, set()),
        ("providers.*", ProviderConfig, {"name", "origin"}),
        ("providers.*.models.*", ModelInfo, {"source"}),
        ("", Settings, {"origins", "variables"}),
        ("breaker", BreakerRules, set()),
        ("budget", BudgetRules, set()),
    ],
)
def test_the_table_has_every_field(prefix, cls, but):
    assert _class_keys(prefix) == {field.name for field in attrs.fields(cls)} - but


def test_the_defaults_of_the_table_are_the_real_ones(file):
    lines = [f"{key.path} = {key.default}" for key in KEYS if key.default and "*" not in key.path and key.path != "timeout"]
    assert Settings.load(file("\n".join(lines)), environ={}) == Settings().with_environment({})


def test_every_kind_of_the_table_is_known_and_every_key_explained():
    assert {key.kind for key in KEYS} == set(KINDS)
    assert len({key.path for key in KEYS}) == len(KEYS)


def test_a_file_without_mistakes_has_no_error():
    assert SettingsFile(path="x").error is None


def test_the_wire_log_is_a_path_beside_the_file_or_a_standard_stream(tmp_path):
    path = tmp_path / "settings.toml"
    path.write_text('wire_log = "wire.jsonl"\n[providers.a]\nwire_log = "-"\n', "utf-8")
    loaded = Settings.load(path, {})
    assert (loaded.wire_log, loaded.providers["a"].wire_log) == (str(tmp_path / "wire.jsonl"), "-")


@pytest.mark.parametrize("kind", ["config", "data", "cache"])
@pytest.mark.parametrize("xdg", [None, "/elsewhere", ""])
def test_the_folders_are_those_of_platformdirs(monkeypatch, kind, xdg):
    name = f"XDG_{kind.upper()}_HOME"
    monkeypatch.delenv(name, raising=False) if xdg is None else monkeypatch.setenv(name, xdg)
    assert user_folder(kind) == getattr(platformdirs, f"user_{kind}_dir")("providerhub", appauthor=False)
