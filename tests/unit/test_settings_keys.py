"""Keys from a variable, a command or the keyring: read when they are used, kept, and never shown."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
import threading
import traceback

import keyring
import pytest
from keyring.backend import KeyringBackend
from keyring.credentials import SimpleCredential

from providerhub import CallerError, ConfigurationError, Hub, ProviderConfig, ProviderInfo, Secret, Setting, Settings
from providerhub._finding.instance import Instance
from providerhub._settings.resolving import resolve
from providerhub._settings.secrets import CommandKey, EnvironmentKey, KeyringKey

CANARY = "sk-canary-77aa"
INFO = ProviderInfo(name="acme", settings=(Setting("token", secret=True),), needs_auth=True, factory="x:y")


def _python(code, **knobs):
    return CommandKey((sys.executable, "-c", code), **knobs)


def _shown(error):
    """All that a traceback with locals could show, with the chain of contexts."""
    parts = []
    while error is not None:
        parts += traceback.TracebackException.from_exception(error, capture_locals=True).format()
        error = error.__context__
    return "".join(parts)


# --- a secret that is read later


class Source:
    """A source that counts how often it is asked."""

    def __init__(self, *values):
        self.values = list(values)
        self.asked = 0

    def read(self):
        self.asked += 1
        return self.values.pop(0) if len(self.values) > 1 else self.values[0]


def test_a_secret_is_read_when_it_is_first_wanted_and_kept():
    source = Source(CANARY, "another")
    secret = Secret.later(source)
    assert bool(secret)
    assert (repr(secret), str(secret), source.asked) == ("Secret('***')", "***", 0)
    assert (secret.reveal(), secret.reveal(), source.asked) == (CANARY, CANARY, 1)


def test_a_secret_can_be_read_again():
    secret = Secret.later(Source("old", "new"))
    assert (secret.renew(), secret.reveal()) == (True, "old")
    assert (secret.renew(), secret.reveal()) == (True, "new")
    assert secret.renew() is False
    assert Secret("fixed").renew() is False


def test_secrets_of_one_source_are_equal_without_asking_it():
    one, other = Secret.later(EnvironmentKey("A")), Secret.later(EnvironmentKey("A"))
    assert one == other
    assert hash(one) == hash(other)
    assert one != Secret.later(EnvironmentKey("B"))
    assert one != Secret("A")
    assert Secret("A") == Secret("A")


@pytest.mark.parametrize(
    "secret", [Secret(CANARY), Secret.later(CommandKey(("pass", CANARY))), Secret.later(KeyringKey("a", "b"))]
)
def test_secrets_travel_and_stay_hidden(secret):
    for made in (pickle.loads(pickle.dumps(secret)), copy.deepcopy(secret)):
        assert made == secret
    assert CANARY not in f"{secret!r} {secret} {secret.source!r} {secret.source}"


# --- a command


def test_the_first_line_of_a_commands_output_is_the_key():
    assert _python(f"print('  {CANARY}\\nuser: x')").read() == CANARY


def test_a_command_runs_without_a_shell():
    assert CommandKey((sys.executable, "-c", "import sys; print(sys.argv[1])", "$HOME; echo x")).read() == "$HOME; echo x"


def test_a_command_gets_no_input():
    assert _python("import sys; print(len(sys.stdin.read()))").read() == "0"


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("out.write(key); err.write(key); sys.exit(7)", "ended with exit status 7"),
        ("out.write(b'\\n' + key)", "printed an empty first line"),
        ("", "printed an empty first line"),
        (r"out.write(b'\xff' + key)", "is not UTF-8"),
    ],
)
def test_a_command_that_fails_is_told_without_its_output(capfd, code, said):
    start = f"import sys; key = bytes.fromhex('{CANARY.encode().hex()}'); out, err = sys.stdout.buffer, sys.stderr.buffer\n"
    with pytest.raises(ConfigurationError, match=said) as raised:
        _python(start + code).read()
    assert "python" in str(raised.value)
    assert CANARY not in _shown(raised.value) + "".join(capfd.readouterr())


def test_a_command_that_is_not_there():
    with pytest.raises(ConfigurationError, match=r"command 'no-such-program' cannot be run \(No such file"):
        CommandKey(("/nowhere/no-such-program", "x")).read()


def test_a_command_with_a_null_byte():
    with pytest.raises(ConfigurationError, match=r"cannot be run \(ValueError\)"):
        CommandKey(("a\0b",)).read()


@pytest.mark.unix
def test_a_command_that_takes_too_long_is_ended_even_if_its_child_holds_the_pipe():
    code = (
        "import os\n"
        "ours, theirs = os.pipe()\n"
        "if os.fork() == 0:\n"
        "    os.close(theirs)\n"
        "    os.read(ours, 1)\n"  # until the parent is gone; standard output stays open meanwhile
        "    os._exit(0)\n"
        "os.close(ours)\n"
        "os.read(os.pipe()[0], 1)\n"
    )
    with pytest.raises(ConfigurationError, match=r"took longer than 0\.5 s"):
        _python(code, timeout=0.5).read()


@pytest.mark.unix
def test_ctrl_c_ends_the_command_too():
    code = "import os, signal; os.kill(os.getppid(), signal.SIGINT); os.read(os.pipe()[0], 1)"
    with pytest.raises(KeyboardInterrupt):
        _python(code).read()


# --- the keyring


class Drawer(KeyringBackend):
    """A keyring of one entry."""

    priority = 1

    def get_password(self, service, username):
        if service == "broken":
            raise RuntimeError(CANARY)
        return CANARY if (service, username) == ("acme", "me") else None

    def set_password(self, service, username, password):
        raise NotImplementedError

    def get_credential(self, service, username):
        return SimpleCredential("me", CANARY) if service == "acme" else None


@pytest.fixture
def drawer():
    before = keyring.get_keyring()
    keyring.set_keyring(Drawer())
    yield
    keyring.set_keyring(before)


@pytest.mark.usefixtures("drawer")
def test_a_key_from_the_keyring():
    assert KeyringKey("acme", "me").read() == CANARY
    assert KeyringKey("acme").read() == CANARY


@pytest.mark.usefixtures("drawer")
@pytest.mark.parametrize(
    ("source", "said"),
    [
        (KeyringKey("acme", "you"), "make it with: keyring set acme you"),
        (KeyringKey("nobody"), "make it with: keyring set nobody USER"),
        (KeyringKey("broken", "me"), "the keyring answered with RuntimeError"),
    ],
)
def test_a_key_that_the_keyring_does_not_have(source, said):
    with pytest.raises(ConfigurationError, match=said) as raised:
        source.read()
    assert CANARY not in str(raised.value)
    assert raised.value.__context__ is None


def test_without_the_extra_the_error_names_it():
    code = (
        "import sys\nsys.modules['keyring'] = None\n"
        "from providerhub._settings.secrets import KeyringKey\nfrom providerhub import ConfigurationError\n"
        "try:\n    KeyringKey('acme').read()\nexcept ConfigurationError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert 'pip install "providerhub[keyring]"' in done.stdout


# --- a variable, and whose value counts


def test_a_variable_that_the_file_names():
    config = ProviderConfig(name="acme", api_key=Secret.later(EnvironmentKey("MINE")), origin="settings.toml")
    assert resolve(config, INFO, {"MINE": CANARY})[0].api_key == Secret(CANARY)
    assert resolve(config, INFO, {"MINE": "x", "ACME_API_KEY": CANARY})[0].api_key == Secret(CANARY)
    resolved, missing = resolve(config, INFO, {"MINE": ""})
    assert (resolved.api_key, [setting.name for setting in missing]) == (None, ["api_key"])


def test_an_option_may_come_from_a_variable_too():
    config = ProviderConfig(name="acme", api_key="x", options={"token": Secret.later(EnvironmentKey("T")), "n": 1}, origin="f")
    assert resolve(config, INFO, {"T": CANARY})[0].options == {"token": Secret(CANARY), "n": 1}
    assert resolve(config, INFO, {})[0].options == {"token": None, "n": 1}


def test_what_is_missing_names_the_variable_of_the_file(monkeypatch):
    monkeypatch.delenv("MINE", raising=False)
    config = ProviderConfig(name="acme", api_key=Secret.later(EnvironmentKey("MINE")), origin="settings.toml")
    instance = Instance(config, INFO)
    assert instance.variables == ("MINE",)
    assert "environment variable MINE" in instance.reason


def test_the_variable_itself_can_be_asked_and_may_be_missing(monkeypatch):
    monkeypatch.setenv("MINE", CANARY)
    assert EnvironmentKey("MINE").read() == CANARY
    assert str(EnvironmentKey("MINE")) == "environment variable MINE"
    monkeypatch.delenv("MINE")
    with pytest.raises(ConfigurationError, match="environment variable MINE, which should hold a key, is not set"):
        EnvironmentKey("MINE").read()


# --- when a hub reads it


class Acme:
    """Answers with its key."""

    def __init__(self, config):
        self.key = config.api_key.reveal()

    def stream(self, request, call):
        yield f"with {len(self.key)} characters"


create = Acme


@pytest.fixture
def counting(tmp_path):
    """A command that prints a key and notes that it ran."""
    log = tmp_path / "log"
    log.touch()
    code = f"open({str(log)!r}, 'a').write('x'); print('{CANARY}')"
    return _python(code), lambda: len(log.read_text())


def _instance(source):
    config = ProviderConfig(name="acme", api_key=Secret.later(source), origin="settings.toml")
    return Instance(config, ProviderInfo(name="acme", needs_auth=True, factory=f"{__name__}:create"))


def _instance_by_variable(monkeypatch):
    monkeypatch.setenv("ACME_KEY", "old")
    key = Setting("api_key", env="ACME_KEY", secret=True)
    return Instance(ProviderConfig(name="acme"), ProviderInfo(name="acme", settings=(key,), factory=f"{__name__}:create"))


@pytest.fixture
def importable(monkeypatch):
    """This module, by its name."""
    monkeypatch.setitem(sys.modules, __name__, sys.modules.get(__name__) or sys.modules[Acme.__module__])


@pytest.mark.usefixtures("importable")
def test_the_command_runs_when_the_provider_is_made_and_once(counting):
    command, ran = counting
    instance = _instance(command)
    assert (instance.missing, instance.reason, ran()) == ((), "", 0)
    first = instance.provider()
    instance.close()
    second = instance.provider()
    assert (first.key, second.key, ran()) == (CANARY, CANARY, 1)


def test_a_key_that_was_refused_is_read_again_but_not_all_the_time():
    source = Source("old", "new", "newer")
    instance = _instance(source)
    assert instance.config.api_key.reveal() == "old"
    assert instance.renew_key() is True
    assert instance.config.api_key.reveal() == "new"
    assert instance.renew_key() is False
    assert source.asked == 2


@pytest.mark.usefixtures("importable")
def test_no_object_is_made_of_the_old_key_once_there_is_a_new_one(monkeypatch):
    """Closing the old objects may take long; another thread may want one meanwhile."""
    instance = _instance_by_variable(monkeypatch)
    first, made = instance.provider(), []
    first.close = lambda: made.append(instance.provider())
    monkeypatch.setenv("ACME_KEY", "new")
    assert instance.renew_key() is True
    assert [provider.key for provider in made] == ["new"]
    assert instance.provider() is made[0]


@pytest.mark.usefixtures("importable")
def test_a_thread_that_asks_for_the_new_key_waits_until_the_key_is_in_force(monkeypatch):
    instance = _instance_by_variable(monkeypatch)
    monkeypatch.setenv("ACME_KEY", "new")
    order = []

    def changed():
        other.start()
        other.join(0.3)  # it must wait for this thread, and cannot notice the thread itself
        order.append("in force")

    other = threading.Thread(target=lambda: order.append(instance.renew_key()))
    assert instance.renew_key(changed) is True
    other.join()
    assert order == ["in force", False]


def test_a_key_that_cannot_be_read_again_stays(caplog):
    class Once:
        asked = False

        def read(self):
            if self.asked:
                raise ConfigurationError("the drawer is locked")
            self.asked = True
            return CANARY

    instance = _instance(Once())
    assert instance.config.api_key.reveal() == CANARY
    assert instance.renew_key() is False
    assert instance.config.api_key.reveal() == CANARY
    assert "the drawer is locked" in caplog.text


def test_a_call_whose_key_cannot_be_read_fails_with_the_reason(caplog):
    failing = Secret.later(_python("import sys; print('out of the drawer'); sys.exit(3)"))

    class Needy:
        def stream(self, request, call):
            yield failing.reveal()

    pairs = [(ProviderInfo(name="acme", models=("m",)), Needy())]
    with Hub(Settings(autoload=False), providers=pairs) as hub, pytest.raises(CallerError, match="exit status 3") as raised:
        hub.complete("m", "Hello")
    assert "out of the drawer" not in f"{raised.value}{raised.value.route}{caplog.text}"
