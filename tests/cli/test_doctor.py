"""`providerhub doctor`, with distributions and settings that are broken in every known way."""

from __future__ import annotations

import json
import os
import re
import textwrap

import pytest

from providerhub.testing import http_response

CANARY = "sk-canary-d0c7"

PLUGIN = """
from providerhub import ModelInfo, ProviderInfo, Setting, hookimpl

@hookimpl
def providerhub_provider():
    return ProviderInfo(name="{name}", models=(ModelInfo("{name}-model"),), factory="{module}:create"{more})

class Fine:
    def __init__(self, config):
        self.config = config
    def stream(self, request, call):
        yield "ok"

create = Fine
"""


@pytest.fixture
def site(tmp_path, process):
    """A folder of installed distributions, and the doctor that sees it."""
    return Site(tmp_path / "site", process)


class Site:
    """Distributions made by hand."""

    def __init__(self, path, process):
        self.path = path
        self.process = process
        path.mkdir()

    def distribution(self, name, entry_points="", *, version="1.0", metadata=None, folder=None):
        place = (folder or self.path) / f"{name.replace('-', '_')}-{version}.dist-info"
        place.mkdir(parents=True)
        text = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n" if metadata is None else metadata
        (place / "METADATA").write_text(text, encoding="utf-8")
        content = entry_points if isinstance(entry_points, bytes) else textwrap.dedent(entry_points).encode()
        (place / "entry_points.txt").write_bytes(content)

    def module(self, name, code):
        (self.path / f"{name}.py").write_text(textwrap.dedent(code), encoding="utf-8")

    def plugin(self, name, code=PLUGIN, *, distribution=None, more=""):
        module = f"plug_{name.replace('-', '_')}"
        self.module(module, code.replace("{name}", name).replace("{module}", module).replace("{more}", more))
        self.distribution(distribution or f"dist-{name}", f"[providerhub]\n{name} = {module}\n")

    def doctor(self, *words, **environ):
        path = os.pathsep.join(filter(None, [str(self.path), os.environ.get("PYTHONPATH", "")]))
        # One of the installed plugins is enough.
        block = {"PROVIDERHUB_BLOCK": "anthropic,echo,openai"}
        done = self.process("doctor", "--json", *words, env={"PYTHONPATH": path, **block, **environ})
        assert done.stderr == "", done.stderr
        report = json.loads(done.stdout)
        assert (done.returncode == 0) == report["healthy"]
        assert all(finding["fix"] for finding in report["findings"] if finding["level"] != "ok")
        return report


def _about(report, name, level=None):
    return [f for f in report["findings"] if f["about"] == name and level in {None, f["level"]}]


def _only(report, name, level):
    (finding,) = _about(report, name, level)
    return finding


def test_a_machine_on_which_all_is_well(site, sandbox):
    sandbox()
    report = site.doctor()
    assert report["healthy"]
    assert _only(report, "lockchat", "ok")["text"] == "ready"
    assert {"Python", "platform", "providerhub", "providerhub-lockchat"} <= set(report["versions"])
    assert next(p for p in report["providers"] if p["name"] == "lockchat")["distribution"] == "providerhub-lockchat"
    url = next(v for v in report["settings"]["values"] if v["name"] == "providers.lockchat.url")
    assert url["origin"] == "environment variable LOCKCHAT_URL"


def test_what_is_not_configured_names_the_variable_and_is_no_failure(site):
    site.plugin("fine")
    report = site.doctor()
    finding = _only(report, "lockchat", "note")
    assert "LOCKCHAT_URL" in finding["fix"]
    assert "[providers.lockchat]" in finding["fix"]
    assert report["healthy"]


def test_a_misspelt_model_is_a_warning(site, tmp_path):
    site.plugin("fine")
    file = tmp_path / "settings.toml"
    file.write_text('[providers.fine.model."fine-modl"]\nrpm = 1\n', encoding="utf-8")
    finding = _only(site.doctor(PROVIDERHUB_CONFIG=str(file)), "fine", "warning")
    assert finding["text"] == f"{file}:1: fine has no model 'fine-modl'; did you mean 'fine-model'?"


def test_a_command_that_two_distributions_offer_is_a_failure(site):
    for name in ("one", "two"):
        site.distribution(name, "[providerhub.commands]\nextra = absent:command\n")
    finding = _only(site.doctor(), "extra", "error")
    assert finding["text"] == "the command 'extra' is offered by one and two, so it cannot be used"


def test_commands_that_cannot_be_used_are_named(site):
    site.distribution("one", "[providerhub.commands]\nask = absent:command\nextra = absent:command\n")
    report = site.doctor()
    said = "the command 'ask' of one is never called, since the core has a command of this name"
    assert _only(report, "ask", "warning")["text"] == said
    assert "importing absent:command raised ModuleNotFoundError" in _only(report, "extra", "error")["text"]


def test_no_ready_provider_is_a_failure(site):
    finding = _only(site.doctor(PROVIDERHUB_PLUGINS="lockchat"), "providers", "error")
    assert "no call can work" in finding["text"]
    finding = _only(site.doctor(PROVIDERHUB_DISABLE_AUTOLOAD="1"), "providers", "error")
    assert "pip install" in finding["fix"]


def test_each_broken_plugin_is_named_and_the_others_are_looked_at(site):
    site.plugin("fine")
    site.plugin("raises", "raise RuntimeError('at import')")
    site.plugin("exits", "raise SystemExit(0)")
    site.plugin("strange", "import providerhub\n@providerhub.hookimpl\ndef providerhub_provider():\n    return 42\n")
    site.plugin("newer", more=", api_version=2")
    site.plugin("twin", distribution="dist-a")
    site.distribution("dist-b", "[providerhub]\ntwin = plug_twin\n")
    report = site.doctor()
    assert _only(report, "fine", "ok")["text"] == "ready"
    for name, state, said in (
        ("raises", "broken", "RuntimeError: at import"),
        ("exits", "broken", "SystemExit"),
        ("strange", "broken", "must return a ProviderInfo, not int"),
        ("newer", "incompatible", "interface version 2"),
        ("twin", "conflict", "dist-a, dist-b"),
    ):
        text = _only(report, name, "error")["text"]
        assert f"it is {state}" in text
        assert said in text
    assert "dist-newer" in _only(report, "newer", "error")["fix"]


def test_a_misspelt_factory_or_group_is_found_without_a_call(site):
    site.plugin("typo", PLUGIN.replace("{module}:create", "{module}:creat_it"))
    site.distribution("dist-near", "[providrhub]\nnear = plug_typo\n")
    report = site.doctor()
    assert "the module 'plug_typo' has no 'creat_it'; did you mean" in _only(report, "typo", "error")["text"]
    text = _only(report, "dist-near", "warning")["text"]
    assert "its entry point 'near' is in the group 'providrhub', which nothing reads" in text
    assert "[project.entry-points.providerhub]" in text


def test_misspelt_hooks_are_named_with_the_hook_that_is_meant(site):
    misspelt = PLUGIN.replace("def providerhub_provider", "def providerhub_provder")
    site.plugin("marked", misspelt)
    site.plugin("unmarked", misspelt.replace("@hookimpl\n", ""))
    site.plugin("forgotten", PLUGIN.replace("@hookimpl\n", ""))
    site.plugin(
        "extra", PLUGIN + "\n@hookimpl\ndef providerhub_unknown_thing():\n    pass\n\ndef providerhub_extra_helper():\n    pass\n"
    )
    site.module("observer", "import providerhub\n@providerhub.hookimpl\ndef providerhub_call_finishd(route): pass\n")
    site.module("nothing", "")
    site.distribution("dist-hooks", "[providerhub.hooks]\nwatch = observer\nempty = nothing\n")
    report = site.doctor()
    for name in ("marked", "unmarked"):
        assert "did you mean 'providerhub_provider'?" in _only(report, name, "error")["text"]
        assert _only(report, name, "warning")["text"].startswith("providerhub_provder is not a hook")
    assert "not marked with @hookimpl" in _only(report, "forgotten", "warning")["text"]
    assert _only(report, "extra", "warning")["text"].startswith("providerhub_unknown_thing is not a hook")
    assert _about(report, "extra", "ok")
    assert "did you mean 'providerhub_call_finished'?" in _only(report, "watch (observer)", "error")["text"]
    assert "no function marked with @hookimpl" in _only(report, "empty (nothing)", "error")["text"]


def test_plugins_in_the_group_of_the_other_kind_are_told_their_own(site):
    site.module("misplaced", "import providerhub\n@providerhub.hookimpl\ndef providerhub_provider(): pass\n")
    site.distribution("dist-hooks", "[providerhub.hooks]\nmisplaced = misplaced\n")
    site.plugin("observer", "import providerhub\n@providerhub.hookimpl\ndef providerhub_call_finished(route): pass\n")
    report = site.doctor()
    assert "[project.entry-points.providerhub]" in _only(report, "misplaced (misplaced)", "error")["text"]
    assert '[project.entry-points."providerhub.hooks"]' in _only(report, "observer", "error")["text"]


def test_imports_that_are_slow_hang_print_or_end_the_process(site, tmp_path):
    site.plugin("fine")
    site.plugin("hangs", "import os\nos.read(os.pipe()[0], 1)\n")
    site.plugin("dies", "import os\nos._exit(7)\n")
    site.plugin("prints", "print('welcome')\n" + PLUGIN)
    report = site.doctor("--import-timeout", "3", "--slow", "0")
    assert "did not end within 3 s" in _only(report, "hangs", "error")["text"]
    assert "PROVIDERHUB_BLOCK=hangs" in _only(report, "hangs", "error")["fix"]
    assert "ended its process with status 7" in _only(report, "dies", "error")["text"]
    assert any("prints to standard output" in finding["text"] for finding in _about(report, "prints", "warning"))
    assert any("takes" in finding["text"] for finding in _about(report, "fine", "warning"))
    assert _about(report, "fine", "ok")
    assert {went["module"]: went["outcome"] for went in report["imports"]}["plug_dies"] == "ended"
    assert not _about(site.doctor("--import-timeout", "30", "--slow", "30", PROVIDERHUB_BLOCK="hangs,dies"), "fine", "warning")


def test_a_hook_plugin_that_hangs_is_named_and_does_not_hold_the_doctor_up(site):
    site.plugin("fine")
    site.module("observer", "import os\nos.read(os.pipe()[0], 1)\n")
    site.distribution("dist-hooks", "[providerhub.hooks]\nwatch = observer\n")
    report = site.doctor("--import-timeout", "3", "--network")
    assert "did not end within 3 s" in _only(report, "watch", "error")["text"]
    assert "dist-hooks" in _only(report, "watch", "error")["fix"]
    assert _about(report, "fine", "ok")


def test_a_module_in_the_working_directory_stands_in_for_nothing(site, process, tmp_path):
    site.plugin("fine")
    trap = tmp_path / "trap"
    trap.mkdir()
    (trap / "plug_fine.py").write_text("raise RuntimeError('from the working directory')")
    done = process("doctor", "--json", env={"PYTHONPATH": str(site.path)}, cwd=trap)
    assert _about(json.loads(done.stdout), "fine", "ok")


def test_distributions_that_cannot_be_read(site):
    site.plugin("fine")
    site.distribution("unrelated", "this is no entry point\n[console_scripts\nx")
    site.distribution("undecodable", b"[console_scripts]\nx = \xff\xfe\n")
    site.distribution("nameless", metadata="Metadata-Version: 2.1\n")
    site.distribution("badvalue", "[console_scripts]\nx = not a module!\n")
    site.distribution("dist-ours", "[providerhub]\nours\n")
    report = site.doctor()
    for name in ("unrelated", "undecodable", "badvalue"):
        finding = _only(report, name, "warning")
        assert "entry_points.txt is malformed" in finding["text"], name
        assert "line 1" in finding["text"] or name != "unrelated"
        assert str(site.path) in finding["fix"]
    nameless = _only(report, "nameless-1.0.dist-info", "warning")
    assert "its metadata has no name" in nameless["text"]
    assert nameless["fix"].startswith("reinstall the package or remove ")
    assert "malformed" in _about(report, "dist-ours")[0]["text"]
    assert _about(report, "fine", "ok")


def test_distributions_that_are_there_twice(site, tmp_path):
    site.plugin("fine", distribution="providerhub-fine")
    site.distribution("providerhub_fine", "[providerhub]\nfine = plug_fine\n", version="0.9")
    site.distribution("providerhub-lockchat", "[providerhub]\nlockchat = providerhub_lockchat\n", version="0.0.1")
    report = site.doctor()
    twice = [f for f in report["findings"] if "installed twice" in f["text"]]
    assert len(twice) == 1
    assert "1.0" in twice[0]["text"]
    assert "0.9" in twice[0]["text"]
    assert any("hides" in f["text"] for f in _about(report, "providerhub-lockchat", "warning"))


# --- settings


@pytest.fixture
def file(tmp_path):
    """Write a settings file; returns its path."""

    def write(text, *, mode=0o600):
        path = tmp_path / "settings.toml"
        path.write_text(text, encoding="utf-8")
        path.chmod(mode)
        return str(path)

    return write


def test_a_broken_settings_file_and_environment_do_not_stop_it(site, file):
    site.plugin("fine")
    path = file("timout = 1\nallow = ['nobody', 'fine']\n[providers.ghost]\nurl = 'https://x'\n")
    report = site.doctor(PROVIDERHUB_CONFIG=path, PROVIDERHUB_TIMEOUT="soon", PROVIDERHUB_BLOCK="nobody")
    errors = [finding["text"] for finding in _about(report, "settings", "error")]
    assert [text.removeprefix(path).split(" ")[0] for text in errors] == [":1:", ":2:", ":3:"]
    assert "PROVIDERHUB_TIMEOUT" in _only(report, "environment", "error")["text"]
    assert _about(report, "fine", "ok")
    assert "not in the allow-list" in _only(report, "lockchat", "note")["fix"]
    assert report["settings"]["file"] == path


@pytest.mark.parametrize("text", ["timeout = [", "\0"])
def test_a_settings_file_that_is_not_toml(site, file, text):
    site.plugin("fine")
    report = site.doctor(PROVIDERHUB_CONFIG=file(text))
    assert "this is not TOML" in _only(report, "settings", "error")["text"]
    assert _about(report, "fine", "ok")


def test_a_settings_file_with_a_relative_name(site):
    report = site.doctor(PROVIDERHUB_CONFIG="settings.toml")
    assert "absolute path" in _only(report, "settings", "error")["text"]
    assert report["settings"]["file"] is None


@pytest.mark.skipif(os.name != "posix", reason="file modes")
def test_a_settings_file_that_others_may_change_or_read(site, file):
    site.plugin("fine", more=", settings=(Setting('token', secret=True),)")
    path = file(f"[providers.fine.options]\ntoken = '{CANARY}'\n", mode=0o646)
    report = site.doctor(PROVIDERHUB_CONFIG=path)
    assert _only(report, "settings", "error")["fix"] == f"chmod o-w {path}"
    finding = _only(report, "fine", "error")
    assert f"chmod 600 {path}" in finding["fix"]
    assert "PROVIDERHUB_FINE_TOKEN" in finding["fix"]
    assert CANARY not in json.dumps(report)


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="only root gives files away")
def test_a_settings_file_of_another_user(site, file):
    path = file("")
    os.chown(path, 12345, -1)
    report = site.doctor(PROVIDERHUB_CONFIG=path)
    assert "belongs to another user (uid 12345)" in _only(report, "settings", "warning")["text"]


def test_unreadable_keys_and_undeclared_options(site, file):
    site.plugin("fine", more=", needs_auth=True, settings=(Setting('region'),)")
    text = """
        [providers.a]
        plugin = "fine"
        api_key = { command = ["no-such-program-here"] }
        options = { regoin = "eu", else = 1 }
        [providers.b]
        plugin = "fine"
        api_key = { env = "NOT_SET_ANYWHERE" }
        [providers.c]
        plugin = "fine"
        api_key = { command = ["true"] }
        """
    report = site.doctor(PROVIDERHUB_CONFIG=file(textwrap.dedent(text)))
    assert "which is not installed" in _only(report, "a", "error")["text"]
    assert [finding["text"].partition(": ")[2] for finding in _about(report, "settings", "error")] == [
        "provider 'a': the plugin 'fine' has no option 'else'; its options are region",
        "provider 'a': the plugin 'fine' has no option 'regoin'; did you mean 'region'?",
    ]
    assert _only(report, "b", "warning")["fix"] == "set NOT_SET_ANYWHERE"
    assert "NOT_SET_ANYWHERE" in _only(report, "b", "note")["fix"]
    assert _only(report, "c", "note")["fix"] == "`providerhub doctor --network` tries it"
    assert _only(report, "c", "ok")["text"] == "ready"


def test_a_plugin_that_takes_any_option_is_not_warned_about(site, file):
    site.plugin("open", more=", settings=(Setting('region'),), any_option=True")
    report = site.doctor(PROVIDERHUB_CONFIG=file("[providers.open]\noptions = { anything = 1 }\n"))
    assert not _about(report, "open", "warning")
    assert _only(report, "open", "ok")["text"] == "ready"


def test_variables_that_do_not_apply_and_a_key_file(site, file, tmp_path):
    site.plugin("fine", more=", settings=(Setting('api_key', secret=True),)")
    text = f"""
        [providers.a]
        plugin = "fine"
        url = "https://acme.example"
        api_key = {{ file = "{tmp_path / "nothing"}" }}
        """
    unset = dict.fromkeys(
        ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_DIR", "https_proxy", "NO_PROXY"), ""
    )
    report = site.doctor(PROVIDERHUB_CONFIG=file(textwrap.dedent(text)), **unset, HTTPS_PROXY="http://proxy:1")
    assert _only(report, "a", "note")["text"] == "HTTPS_PROXY is set but not used"
    assert _only(report, "a", "note")["fix"] == "set trust_env = true, or proxies, for provider 'a'"
    assert "nothing, which cannot be read" in _only(report, "a", "error")["text"]
    assert "nothing cannot be read" in _only(report, "settings", "error")["text"]


BAD = {
    "localhost:8080": "has no scheme",
    "http//x": "has no scheme",
    "https://": "names no host",
    "https://a b": "holds a blank",
    "https://host:99999": "has a wrong host or port",
    "https://[x": "has a wrong host or port",
    "https://host/v1/chat/completions": "ends with /chat/completions",
}


def test_a_bad_address_in_the_file_is_reported_with_its_line(site, file, process):
    site.plugin("fine", more=", settings=(Setting('url'),)")
    path = file("\n".join(f"[providers.p{number}]\nplugin = 'fine'\nurl = '{url}'" for number, url in enumerate(BAD)))
    told = [f"{path}:{3 * number + 3}: providers.p{number}.url {said}" for number, said in enumerate(BAD.values())]
    environment = {"PROVIDERHUB_CONFIG": path, "PYTHONPATH": str(site.path)}
    checked = process("settings", "check", "--json", env=environment)
    reported = [finding["text"] for finding in _about(site.doctor(PROVIDERHUB_CONFIG=path), "settings", "error")]
    for found in (json.loads(checked.stdout)["problems"], reported):
        assert [text[: len(start)] for text, start in zip(found, told, strict=True)] == told
    explained = process("route", "any-model", env=environment)
    assert explained.returncode == 1
    assert "".join(told[0].split()) in "".join(explained.stderr.split())  # the terminal breaks the line


def test_a_bad_address_in_the_environment_is_reported_before_the_first_call(site, file, process):
    site.plugin("fine", more=", settings=(Setting('url'),)")
    path = file("".join(f"[providers.p{number}]\nplugin = 'fine'\n" for number in range(len(BAD))))
    environment = {f"PROVIDERHUB_P{number}_URL": url for number, url in enumerate(BAD)}
    report = site.doctor(PROVIDERHUB_CONFIG=path, **environment)
    shown = process("plugins", "--json", env={"PROVIDERHUB_CONFIG": path, "PYTHONPATH": str(site.path), **environment})
    views = {view["name"]: view for view in json.loads(shown.stdout)["plugins"]}
    for number, said in enumerate(BAD.values()):
        assert f"it is misconfigured: url {said}" in _only(report, f"p{number}", "error")["text"]
        view = views[f"p{number}"]
        assert (view["state"], view["reason"].startswith(f"url {said}")) == ("misconfigured", True)


# --- the network, which is a sandbox


def test_network_asks_each_configured_provider(site, sandbox):
    sandbox()
    report = site.doctor("--network")
    assert any(finding["text"].startswith("answered as gpt-4 in") for finding in _about(report, "lockchat", "ok"))


def test_network_reports_the_failure_and_its_fix(site, sandbox, file):
    sandbox(fault="error")
    path = file("[providers.ghost]\nurl = 'https://x'\n[providers.down]\nplugin = 'lockchat'\nurl = 'http://127.0.0.1:9'\n")
    report = site.doctor("--network", "--timeout", "20", PROVIDERHUB_CONFIG=path)
    assert "HTTP 500" in _only(report, "lockchat", "error")["text"]
    finding = _only(report, "down", "error")
    assert finding["text"].startswith("asked for gpt-4: ")
    assert "check its url" in finding["fix"]


def test_network_lists_models_if_the_plugin_declares_none(site, file):
    listing = "\ndef listed(config):\n    return ['m-1']\n\ndef failing(config):\n    raise RuntimeError('no list today')\n"
    nothing = PLUGIN.replace('models=(ModelInfo("{name}-model"),), ', "")
    site.plugin("lists", nothing + listing, more=", discover='plug_lists:listed'")
    site.plugin("fails", nothing + listing, more=", discover='plug_fails:failing'")
    report = site.doctor("--network")
    assert any("answered as m-1" in finding["text"] for finding in _about(report, "lists", "ok"))
    assert "no list today" in _only(report, "fails", "error")["text"]
    assert "declares no model" in _only(report, "fails", "note")["text"]


def test_models_refresh_asks_the_providers_that_can_list(site, process):
    listing = "\ndef listed(config):\n    return ['m-1']\n\ndef failing(config):\n    raise RuntimeError('no list today')\n"
    site.plugin("lists", PLUGIN + listing, more=", discover='plug_lists:listed'")
    environ = {"PYTHONPATH": str(site.path)}
    assert "--refresh asks" in process("models", "m-1", env=environ).stderr
    done = process("models", "m-1", "--refresh", "--json", env=environ)
    assert [(m["model"], m["provider"]) for m in json.loads(done.stdout)] == [("m-1", "lists")]
    site.plugin("fails", PLUGIN + listing, more=", discover='plug_fails:failing'")
    done = process("models", "--refresh", env=environ)
    assert (done.returncode, "fails-model" in done.stdout) == (1, True)
    assert done.stderr.startswith("fails could not list its models: ")
    assert "no list today" in done.stderr


# --- how it looks


def test_as_text_each_finding_is_on_one_line_with_its_fix(cli, sandbox):
    sandbox()
    result = cli("doctor", "-v", "--slow", "60", env={"LOCKCHAT_API_KEY": CANARY})  # imports are slow on a busy machine
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("You can call: echo (echo-1), lockchat (gpt-4, gpt-3.5-turbo)")
    for heading in ("Versions", "Settings", "Imports", "Findings"):
        assert f"\n{heading}" in result.stdout
    assert "0 errors, 0 warnings" in result.stdout
    assert CANARY not in result.output


def test_network_shows_what_was_tried(cli, sandbox):
    sandbox()
    shown = cli("doctor", "--network").stdout
    assert re.search(r"^ok: lockchat: answered as gpt-4 in \d+\.\d\d s$", shown, re.MULTILINE)
    assert "ok: lockchat" not in cli("doctor").stdout


def test_as_text_errors_come_first_and_the_exit_code_tells(cli):
    result = cli("doctor", env={"PROVIDERHUB_TIMEOUT": "soon"})
    assert result.exit_code == 1
    verdict, _, findings = result.stdout.partition("\n\nerror: ")
    assert verdict.startswith("Once the errors below are corrected, you can call: echo (echo-1)")  # each command refuses now
    assert "lockchat (LOCKCHAT_URL)" in verdict
    assert "anthropic (ANTHROPIC_API_KEY), anthropic-bedrock (AWS_REGION)" in verdict
    assert findings.startswith("environment: PROVIDERHUB_TIMEOUT ")
    assert "note: " not in findings


def test_a_server_that_may_not_run_is_not_promised(cli, monkeypatch):
    monkeypatch.setattr("providerhub_ollama.URL", "http://127.0.0.1:9")
    verdict = cli("doctor").stdout.split("\n\n")[0]
    assert "ollama" not in verdict.splitlines()[0]
    assert "If its server runs: ollama; `providerhub doctor --network` tries it" in verdict
    tried = cli("doctor", "--network").stdout
    assert "ollama" not in tried.split("\n\n")[0]
    assert "note: ollama: it lists no models: " in tried
    assert "run `ollama serve`" in tried


@pytest.mark.parametrize(("name", "variable"), [("openai", "OPENAI_API_KEY"), ("groq", "GROQ_API_KEY")])
def test_a_service_with_a_key_is_no_server_that_may_not_run(cli, name, variable):
    verdict = cli("doctor", env={variable: "canary-key-0123456789"}).stdout.split("\n\n")[0]
    assert f"{name} (its models are not listed yet)" in verdict.splitlines()[0]


def test_network_asks_for_a_model_that_the_service_lists(site):
    more = ", discover='plug_lists:listed'"
    listing = "\ndef listed(config):\n    return ['m-2']\n"
    site.plugin("lists", PLUGIN.replace('ModelInfo("{name}-model")', 'ModelInfo("m-1"), ModelInfo("m-2")') + listing, more=more)
    report = site.doctor("--network")
    assert any("answered as m-2" in finding["text"] for finding in _about(report, "lists", "ok"))


def test_no_provider_is_promised_while_every_command_refuses_the_settings(cli):
    shown = cli("doctor", env={"PROVIDERHUB_CONFIG": "relative.toml"}).stdout
    assert shown.startswith("Once the errors below are corrected, you can call: ")


def test_a_refused_key_and_ready_are_never_told_together(cli, service):
    service(http_response(401, {"error": {"message": "wrong key"}}), repeat=True)
    result = cli("doctor", "-v", "--network", "--timeout", "5")
    assert result.exit_code == 1
    assert "error: lockchat: asked for gpt-4: " in result.stdout
    assert "ok: lockchat" not in result.stdout
    assert "lockchat" not in result.stdout.partition("\n")[0]


def test_help_is_complete(cli):
    assert "--network" in cli("doctor", "--help").stdout
