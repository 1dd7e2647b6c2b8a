"""`providerhub keys`: the places of keys, and no command that shows a key."""

from __future__ import annotations

import json
import stat
import sys
import types

import pytest

from providerhub import Hub, InstanceView, Setting
from providerhub.cli import _store as store

CANARY = "sk-canary-7f3a"


@pytest.fixture
def ring(monkeypatch):
    """A keyring of the system that works."""
    kept = {}
    module = types.ModuleType("keyring")
    module.get_keyring = lambda: types.SimpleNamespace(priority=5)
    module.set_password = lambda service, user, key: kept.__setitem__((service, user), key)
    module.delete_password = lambda service, user: kept.pop((service, user))
    module.get_password = lambda service, user: kept.get((service, user))
    monkeypatch.setitem(sys.modules, "keyring", module)
    return module, kept


@pytest.fixture
def no_ring(monkeypatch):
    """No keyring is installed."""
    monkeypatch.setitem(sys.modules, "keyring", None)


def _key_of(name):
    with Hub() as hub:
        (view,) = [view for view in hub.instances() if view.name == name]
    return view.config.api_key.reveal()


def test_a_key_goes_to_the_keyring(cli, settings_file, ring):
    result = cli("keys", "set", "openai", input=f"{CANARY}\n")
    assert result.exit_code == 0, result.output
    assert ring[1] == {("providerhub", "openai"): CANARY}
    assert CANARY not in result.output + settings_file.read_text("utf-8")
    assert _key_of("openai") == CANARY


@pytest.mark.parametrize("how", ["none", "fails", "no priority", "forgets", "--file"])
def test_without_a_keyring_a_key_goes_to_a_file_of_the_user(cli, settings_file, ring, monkeypatch, how):
    def fails(*_args):
        raise RuntimeError(CANARY)

    module, _kept = ring
    if how == "none":
        monkeypatch.setitem(sys.modules, "keyring", None)
    elif how == "fails":
        module.set_password = fails
    elif how == "no priority":
        module.get_keyring = lambda: types.SimpleNamespace(priority=0)
    elif how == "forgets":
        module.get_password = lambda *_args: None
    result = cli("keys", "set", "openai", *(["--file"] if how == "--file" else []), input=f" {CANARY} \n")
    assert result.exit_code == 0, result.output
    path = store.config_folder("keys") / "openai"
    assert path.read_text("utf-8") == f"{CANARY}\n"
    if sys.platform != "win32":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert CANARY not in result.output + settings_file.read_text("utf-8")
    assert _key_of("openai") == CANARY
    assert cli("keys", "path").stdout == f"{path.parent}\n"
    assert json.loads(cli("keys", "path", "--json").stdout) == {"folder": str(path.parent)}


def test_a_key_is_replaced_and_the_rest_of_the_settings_stays(cli, settings_file, no_ring):
    settings_file.write_text(
        '# mine\n[providers.openai]\nurl = "https://acme.example" # ours\napi_key = { env = "ACME" }\n', "utf-8"
    )
    assert cli("keys", "set", "openai", input="sk-one").exit_code == 0
    assert cli("keys", "set", "openai", input=CANARY).exit_code == 0
    assert settings_file.read_text("utf-8").startswith('# mine\n[providers.openai]\nurl = "https://acme.example" # ours\n')
    assert _key_of("openai") == CANARY


@pytest.mark.parametrize("how", [(), ("--file",)])
def test_a_key_that_was_set_is_removed(cli, settings_file, ring, how):
    settings_file.write_text("# comment\n", "utf-8")
    assert cli("keys", "set", "openai", *how, input=CANARY).exit_code == 0
    result = cli("keys", "remove", "openai")
    assert (result.exit_code, result.stdout) == (0, "")
    assert not ring[1]
    assert not list(store.config_folder("keys").glob("*"))
    assert "comment" in settings_file.read_text("utf-8")
    assert "api_key" not in settings_file.read_text("utf-8")
    assert "providers" not in settings_file.read_text("utf-8")
    assert "keeps no key of 'openai'" in cli("keys", "remove", "openai").stderr


def test_a_key_that_the_keyring_holds_on_to_stays(cli, settings_file, ring):
    cli("keys", "set", "openai", input=CANARY)
    ring[0].delete_password = lambda service, user: 1 / 0
    result = cli("keys", "remove", "openai")
    assert result.exit_code == 1
    assert "did not remove" in result.stderr
    assert _key_of("openai") == CANARY


def test_a_key_from_elsewhere_is_not_removed(cli, settings_file, no_ring, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    result = cli("keys", "remove", "openai")
    assert result.exit_code == 1
    assert "it is set: environment variable OPENAI_API_KEY" in result.stderr
    assert CANARY not in result.output


def test_the_list_names_the_place_of_each_key(cli, settings_file, no_ring, monkeypatch):
    monkeypatch.setenv("ANTHROPIC_API_KEY", CANARY)
    cli("keys", "set", "openai", input=CANARY)
    result = cli("keys", "list")
    rows = dict(line.split("\t", 1) for line in result.stdout.splitlines())
    assert rows["anthropic"] == "set\tenvironment variable ANTHROPIC_API_KEY"
    assert rows["openai"].startswith(f"set\t{settings_file}:2, file ")
    assert "azure" not in rows
    assert "--all" in result.stderr
    found = {one["provider"]: one for one in json.loads(cli("keys", "list", "--all", "--json").stdout)}
    assert found["azure"] == {"provider": "azure", "key": "not set", "from": "set AZURE_OPENAI_API_KEY"}
    assert CANARY not in result.output


def test_the_list_without_any_plugin_says_what_to_install(cli, monkeypatch):
    monkeypatch.setenv("PROVIDERHUB_DISABLE_AUTOLOAD", "1")
    assert "pip install providerhub-openai" in cli("keys", "list").stderr


def test_a_variable_that_outranks_a_key_is_named(cli, settings_file, no_ring, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-other")
    result = cli("keys", "set", "openai", input=CANARY)
    assert result.exit_code == 0
    assert "OPENAI_API_KEY" in result.stderr
    assert "sk-other" not in result.stderr


@pytest.mark.parametrize("typed", ["", " \n", "two words", "ключ", "a\nb", f"'{CANARY}'", f'"{CANARY}"\n'])
def test_what_cannot_be_a_key_is_refused(cli, settings_file, no_ring, typed):
    result = cli("keys", "set", "openai", input=typed)
    assert result.exit_code == 1
    assert settings_file.read_text("utf-8") == ""
    assert not typed.strip() or typed.strip() not in result.stderr


@pytest.mark.parametrize(
    ("name", "said"), [("opnai", "did you mean 'openai'?"), ("nothing-like-it", "pip install"), ("echo", "no key")]
)
def test_a_key_of_a_provider_that_takes_none(cli, settings_file, no_ring, name, said):
    result = cli("keys", "set", name, input=CANARY)
    assert result.exit_code == 1
    assert said in result.stderr
    assert CANARY not in result.stderr


def test_a_secret_of_another_name_is_said_where_to_set(cli, settings_file, no_ring, monkeypatch):
    secret = Setting("client_secret", env="OATH_SECRET", secret=True)
    monkeypatch.setattr(Hub, "instances", lambda _hub: (InstanceView(name="oath", plugin="oath", settings=(secret,)),))
    result = cli("keys", "set", "oath", input=CANARY)
    assert result.exit_code == 1
    assert "takes no key named api_key; set client_secret in the variable OATH_SECRET" in result.stderr
    assert "[providers.oath.options]" in result.stderr


def test_a_key_is_not_shown_while_it_is_typed(terminal, settings_file):
    child = terminal("keys", "set", "openai", "--file")
    child.expect_exact("Key for openai: ")
    child.waitnoecho()
    child.send(f"{CANARY}\r")
    child.expect_exact("The key is in ")
    child.wait()
    assert child.exitstatus == 0
    assert CANARY not in child.before
    assert (store.config_folder("keys") / "openai").read_text("utf-8") == f"{CANARY}\n"
