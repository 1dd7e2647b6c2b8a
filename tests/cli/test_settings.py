"""`providerhub settings`: show, path and check, in this process and in a separate process."""

from __future__ import annotations

import json
import os
import subprocess

import platformdirs
import pytest

CANARY = "sk-canary-5e77"


@pytest.fixture
def file(tmp_path, monkeypatch):
    """Write the settings file in use; returns its path."""

    def write(text, *, mode=0o600):
        path = tmp_path / "settings.toml"
        path.write_text(text, encoding="utf-8")
        path.chmod(mode)
        monkeypatch.setenv("PROVIDERHUB_CONFIG", str(path))
        return str(path)

    return write


def _values(cli, **environ):
    found = json.loads(cli("settings", "show", "--json", env=environ).stdout)
    return {row["name"]: (row["value"], row["origin"]) for row in found["values"]}


FULL = f"""
timeout = 60
allow = ["lockchat"]
[aliases]
best = ["lockchat-eu/gpt-4", {{ name = "a/b", provider = "acme" }}]
[providers.lockchat]
url = "https://user:{CANARY}@host/v1?key={CANARY}"
api_key = "{CANARY}"
models = ["x", {{ name = "y" }}]
proxies = {{ https = "http://user:{CANARY}@proxy:3128" }}
options = {{ secret = "{CANARY}", other = {{ command = ["pass", "{CANARY}"] }} }}
[providers.lockchat-eu]
plugin = "lockchat"
api_key = {{ env = "EU_KEY" }}
"""


def test_show_has_each_value_and_its_origin(cli, file):
    path = file(FULL)
    values = _values(cli, PROVIDERHUB_STRATEGY="fastest", LOCKCHAT_URL="https://env")
    assert values["timeout.total"] == (60.0, f"{path}:2")
    assert values["timeout.connect"] == (5.0, "default")
    assert values["strategy"] == ("fastest", "environment variable PROVIDERHUB_STRATEGY")
    assert values["allow"] == (["lockchat"], f"{path}:3")
    assert values["aliases.best"] == (["lockchat-eu/gpt-4", "acme/a/b"], f"{path}:5")
    assert values["providers.lockchat.url"] == ("https://env", "environment variable LOCKCHAT_URL")
    assert values["providers.lockchat.models"] == (["x", "y"], f"{path}:9")
    assert values["providers.lockchat-eu.plugin"] == ("lockchat", f"{path}:13")
    assert values["providers.lockchat-eu.url"] == ("not set", "set PROVIDERHUB_LOCKCHAT_EU_URL")
    assert values["providers.lockchat-eu.api_key"] == ("not set", "environment variable EU_KEY is not set")


def test_show_never_shows_a_key(cli, file):
    path = file(FULL)
    values = _values(cli, EU_KEY=CANARY)
    assert values["providers.lockchat.api_key"] == ("set", f"{path}:8")
    assert values["providers.lockchat-eu.api_key"] == ("set", f"{path}:14, environment variable EU_KEY")
    assert values["providers.lockchat.options.secret"] == ("set", f"{path}:11")
    assert values["providers.lockchat.options.other"] == ("set", f"{path}:11, command 'pass'")
    assert values["providers.lockchat.url"][0] == "https://***@host/v1?***"
    assert values["providers.lockchat.proxies"][0] == {"https": "http://***@proxy:3128"}
    for words in (("show",), ("show", "--json"), ("check",)):
        result = cli("settings", *words, env={"EU_KEY": CANARY, "LOCKCHAT_API_KEY": CANARY})
        assert CANARY not in result.output, words


def test_show_has_the_limits_and_headers_of_a_provider_and_a_model(cli, file):
    path = file(f"""
trust_env = true
proxies = {{ all = "http://u:{CANARY}@proxy:1" }}
[providers.lockchat]
headers = {{ X-Key = "{CANARY}" }}
timeout = 30
rpm = 60
[providers.lockchat.model."gpt-4"]
concurrency = 2
""")
    values = _values(cli)
    assert values["trust_env"] == (True, f"{path}:2")
    assert values["ca_bundle"] == (None, "default")
    assert values["proxies.all"] == ("http://***@proxy:1", f"{path}:3")
    assert values["providers.lockchat.headers"] == ({"X-Key": "set"}, f"{path}:5")
    assert values["providers.lockchat.timeout"][0]["total"] == 30
    assert values["providers.lockchat.rpm"] == (60, f"{path}:7")
    assert values["providers.lockchat.model.gpt-4.concurrency"] == (2, f"{path}:9")
    shown = cli("settings", "show", "--all").output
    assert CANARY not in shown
    assert "not set" in next(line for line in shown.splitlines() if line.startswith("ca_bundle"))


def test_check_reads_key_files(cli, file):
    path = file("[providers.lockchat]\napi_key = { file = 'nothing' }\n")
    result = cli("settings", "check")
    assert result.exit_code == 1
    assert result.output.startswith(f"{path}:2: file ")
    assert "cannot be read (No such file or directory)" in result.output


MISSPELT = """
[aliases]
fast = "lockchat/gpt-5-turbo"
same = "fast"
other = "elsewhere"
[providers.lockchat]
url = "http://127.0.0.1:1"
[providers.lockchat.model."gpt-44"]
rpm = 5
[providers.lockchat.model."gpt-*"]
rpm = 5
"""


def test_a_misspelt_model_is_a_warning(cli, file, monkeypatch):
    monkeypatch.setenv("PROVIDERHUB_PLUGINS", "lockchat")
    path = file(MISSPELT)
    result = cli("settings", "check")
    assert result.exit_code == 0
    lines = result.stderr.splitlines()
    assert lines == [
        f"warning: {path}:8: lockchat has no model 'gpt-44'; did you mean 'gpt-4'?",
        f"warning: {path}:3: the alias 'fast': lockchat has no model 'gpt-5-turbo'; did you mean 'gpt-3.5-turbo'?",
        f"warning: {path}:5: the alias 'other': no provider has the model 'elsewhere'; `providerhub models` lists the known ones",
    ]
    assert json.loads(cli("settings", "check", "--json").stdout)["warnings"] == [line[9:] for line in lines]
    monkeypatch.setenv("PROVIDERHUB_PLUGINS", "lockchat,openai")  # a provider with unknown models
    assert len(cli("settings", "check").stderr.splitlines()) == 2


def test_show_runs_no_command(cli, file, tmp_path):
    mark = tmp_path / "ran"
    file(f"[providers.lockchat]\nurl = 'https://x'\napi_key = {{ command = ['touch', '{mark}'] }}\n")
    assert _values(cli)["providers.lockchat.api_key"][0] == "set"
    assert cli("doctor").exit_code == 0
    assert not mark.exists()


def test_show_as_a_table(cli, file):
    file("hedge = true\n")
    header, *rows = cli("settings", "show", "--all").stdout.splitlines()
    assert header.split("\t") == ["setting", "value", "from"]
    values = {row.split("\t")[0]: row.split("\t")[1] for row in rows}
    assert (values["hedge"], values["allow"]) == ("true", "all")
    short = cli("settings", "show")
    assert next(row for row in short.stdout.splitlines() if row.startswith("hedge\t"))
    assert "allow" not in short.stdout
    assert "more settings have their defaults or are not set; --all shows them" in short.stderr


def test_show_of_the_tables_that_plugins_read(cli, file, tmp_path):
    pytest.importorskip("providerhub_journal", reason="the plugin that reads these tables")
    file(f"[journal]\nenabled = false\nurl = 'sqlite:///{tmp_path}/x.db?key={CANARY}'\n[budgets.day]\nlimit = 20\n")
    values = _values(cli)
    assert values["journal.enabled"][0] is False
    assert values["journal.url"][0].endswith("/x.db?***")
    assert values["journal.keep"][0] is None
    assert values["budgets.day"][0]["limit"] == 20


def test_show_of_a_provider_whose_plugin_cannot_be_used(cli, file):
    file(f"block = ['lockchat']\n[providers.lockchat]\nurl = 'https://u:{CANARY}@x'\napi_key = '{CANARY}'\n")
    values = _values(cli)
    assert values["providers.lockchat.url"][0] == "https://***@x"
    assert values["providers.lockchat.api_key"][0] == "set"


def test_show_of_a_wrong_file_is_one_line(cli, file):
    path = file("timout = 60\n")
    result = cli("settings", "show")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"Error: {path}:1: unknown key 'timout'; did you mean 'timeout'?\n"


def test_path(cli, file, tmp_path, monkeypatch):
    path = file("")
    assert cli("settings", "path").output == f"{path}\n"
    assert json.loads(cli("settings", "path", "--json").stdout) == {"file": str(path), "exists": True}
    monkeypatch.setenv("PROVIDERHUB_CONFIG", str(tmp_path / "none.toml"))
    result = cli("settings", "path")
    assert (result.exit_code, result.stdout) == (0, f"{tmp_path / 'none.toml'}\n")
    assert "does not exist" in result.stderr
    monkeypatch.setenv("PROVIDERHUB_CONFIG", "none.toml")
    assert "absolute path" in cli("settings", "path").stderr


@pytest.mark.skipif(os.name != "posix", reason="XDG")
def test_the_usual_path(cli, tmp_path, monkeypatch):
    monkeypatch.delenv("PROVIDERHUB_CONFIG")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert cli("settings", "path").stdout.startswith(str(tmp_path))
    result = cli("settings", "check")
    assert (result.exit_code, "There is no settings file" in result.stdout) == (0, True)


def test_a_user_without_a_home_has_no_usual_path(cli, monkeypatch):
    monkeypatch.delenv("PROVIDERHUB_CONFIG")
    # What older versions of platformdirs say then; it would depend on the working directory.
    monkeypatch.setattr(platformdirs, "user_config_dir", lambda *_, **__: "~/.config/providerhub")
    assert "no configuration folder" in cli("settings", "path").stderr
    assert cli("settings", "check").exit_code == 0


def test_check_of_a_right_file(cli, file):
    lines = FULL.replace('"lockchat"]', '"lockchat"]\nblock = []').splitlines(keepends=True)
    path = file("".join(line for line in lines if not line.startswith("options")))
    result = cli("settings", "check")
    assert (result.exit_code, result.output) == (0, f"{path}: ok\n")


def test_check_prints_each_problem_on_a_line(cli, file):
    path = file(
        "timout = 60\nstrategy = 'luck'\n"
        "[providers.lockchatt]\nurl = 'https://x'\nweight = -1\n[providers.a]\nplugin = 'lokchat'\n"
    )
    result = cli("settings", "check", env={"PROVIDERHUB_TIMEOUT": "soon"})
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert [line.removeprefix(path).split(" ")[0] for line in lines[:-1]] == [":1:", ":2:", ":3:", ":5:", ":7:"]
    assert "did you mean 'lockchat'?" in lines[2]
    assert "did you mean 'lockchat'?" in lines[4]
    assert lines[-1].startswith("PROVIDERHUB_TIMEOUT must be")


def test_check_of_another_file_and_as_json(cli, file, tmp_path):
    file("")
    other = tmp_path / "other.toml"
    other.write_text("allow = ['nobody']\nblock = ['nobody']\nprefer = { nobody = 'x' }\nx = [")
    assert json.loads(cli("settings", "check", str(other), "--json").stdout) == {
        "file": str(other),
        "problems": [f"{other}:4: this is not TOML: Invalid value"],
        "warnings": [],
    }
    other.write_text("allow = ['nobody']\nblock = ['nobody']\nprefer = { nobody = 'x' }\n")
    result = cli("settings", "check", str(other))
    assert [line.partition(" names")[0] for line in result.stdout.splitlines()] == [
        f"{other}:1: allow.0", f"{other}:2: block.0", f"{other}:3: prefer.nobody",
    ]  # fmt: skip
    assert cli("settings", "check", str(tmp_path / "none.toml")).exit_code == 1


def test_check_reports_variables_that_name_an_uninstalled_plugin(cli):
    result = cli("settings", "check", env={"PROVIDERHUB_PLUGINS": "nobody"})
    assert result.exit_code == 1
    assert "environment variable PROVIDERHUB_PLUGINS: allow names 'nobody'" in result.stdout


def test_a_settings_file_serves_a_real_call(process, sandbox, file):
    sandbox()
    address = os.environ["LOCKCHAT_URL"]
    provider = f"plugin = 'lockchat'\nurl = '{address}'\napi_key = {{ command = ['echo', 'k'] }}\n"
    file(f"[aliases]\nfast = 'mine/gpt-4'\n[providers.mine]\n{provider}")
    done = process("ask", "-m", "fast", "Hello", "--trace", env={"LOCKCHAT_URL": ""})
    assert (done.returncode, done.stdout.endswith("You said: Hello\n")) == (0, True), done.stderr
    assert "1. mine/gpt-4: ok" in done.stderr


def test_a_settings_file_in_the_working_directory_is_not_read(process, sandbox, tmp_path):
    (tmp_path / "settings.toml").write_text("timout = 1")
    (tmp_path / "providerhub").mkdir()
    (tmp_path / "providerhub" / "settings.toml").write_text("timout = 1")
    done = process("settings", "show", cwd=tmp_path, env={"PROVIDERHUB_CONFIG": "", "XDG_CONFIG_HOME": str(tmp_path / "none")})
    assert done.returncode == 0, done.stderr


def test_a_key_of_the_file_goes_to_the_service_and_nowhere_else(process, sandbox, file):
    sandbox()
    address = os.environ["LOCKCHAT_URL"]
    file(f"[providers.lockchat]\nurl = '{address}'\napi_key = '{CANARY}'\n")
    done = process("ask", "-m", "gpt-4", "Hello", "--trace", "--debug", env={"LOCKCHAT_URL": ""})
    assert done.returncode == 0
    assert CANARY not in done.stdout + done.stderr


@pytest.mark.unix
@pytest.mark.parametrize(
    ("words", "closed"),
    [
        *[(("settings", "show"), closed) for closed in ("stdin", "stdout", "stderr", "all")],
        (("doctor",), "all"),
        (("plugins",), "all"),
        (("models",), "all"),
    ],
)
def test_closed_standard_streams_make_no_traceback(script, words, closed, tmp_path):
    redirects = {"stdin": "<&-", "stdout": ">&-", "stderr": "2>&-", "all": "<&- >&- 2>&-"}[closed]
    errors = tmp_path / "errors"
    caught = "" if closed in {"stderr", "all"} else f" 2>{errors}"
    done = subprocess.run(
        ["sh", "-c", f'"$@"{caught} {redirects}', "sh", script, *words], timeout=60, check=False, capture_output=True
    )
    said = errors.read_text() if errors.exists() else ""
    assert "Traceback" not in said
    assert "Exception ignored" not in said
    assert done.returncode in ({0} if closed == "stdin" else {0, 1})
