"""Each command through click's runner, against the sandbox."""

from __future__ import annotations

import json

import pytest

import providerhub
from providerhub import Hub, ModelInfo, ProviderInfo
from providerhub.cli import _demo, _listings
from providerhub.cli._app import COMMANDS
from providerhub.testing import chunked, http_response, openai_chunk, openai_completion, openai_error, openai_stream, sse


def _error_line(result):
    assert result.exit_code == 1
    lines = result.stderr.splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("Error: ")
    return lines[0]


def test_help_lists_every_command(cli):
    result = cli("--help")
    assert result.exit_code == 0
    for command, (_, line) in COMMANDS.items():
        assert f"  {command} " in result.stdout
        assert line in result.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_that_is_named_is_there_and_takes_debug(cli, name):
    result = cli(name, "--help")
    assert result.exit_code == 0
    assert "--debug" in result.stdout


def test_version(cli):
    assert providerhub.__version__ in cli("--version").stdout


@pytest.mark.parametrize("how", [(), ("--no-stream",)])
def test_ask(cli, sandbox, how):
    sandbox()
    result = cli("ask", "-m", "gpt-4", "Hello there", *how)
    assert result.exit_code == 0, result.output
    assert result.stdout.endswith("You said: Hello there\n")
    assert result.stderr == ""


def test_ask_reads_the_prompt_from_standard_input(cli, sandbox):
    sandbox()
    assert "grüße" in cli("ask", "-m", "gpt-4", "-", input="grüße").stdout


def _said(server):
    return server.requests[-1].json()["messages"][-1]["content"]


@pytest.mark.parametrize(
    ("piped", "sent"), [("", "Say"), (" \n", "Say"), ("a file\n", "Say\n\na file\n"), (b"\xef\xbb\xbfmark", "Say\n\nmark")]
)
def test_ask_joins_the_prompt_and_a_text_from_a_pipe(cli, service, piped, sent):
    server = service(lambda _: http_response(200, openai_completion("fine")))
    assert cli("ask", "-m", "gpt-4", "--no-stream", "Say", input=piped).exit_code == 0
    assert _said(server) == sent


@pytest.mark.parametrize(("prompt", "piped"), [("Say", b"\xff"), ("\udcff", "")])
def test_ask_refuses_a_text_that_cannot_be_decoded(cli, sandbox, prompt, piped):
    sandbox()
    result = cli("ask", "-m", "gpt-4", prompt, input=piped)
    assert result.exit_code == 2
    assert "UTF-8" in result.stderr


@pytest.mark.parametrize("given", ["", "  \n", b"\xff\xfe"])
def test_ask_refuses_an_empty_or_undecodable_prompt(cli, sandbox, given):
    sandbox()
    result = cli("ask", "-m", "gpt-4", "-", input=given)
    assert result.exit_code == 2
    assert result.stdout == ""


def test_ask_without_a_model_names_one_that_can_be_called(cli, monkeypatch):
    monkeypatch.setenv("PROVIDERHUB_PLUGINS", "echo")
    assert "add -m echo-1, or set a default one: providerhub models default echo-1" in cli("ask", "Hello").stderr
    monkeypatch.setenv("PROVIDERHUB_PLUGINS", "openai")
    assert "add -m MODEL, or set a default one" in cli("ask", "Hello").stderr


def test_ask_takes_what_is_piped_in_for_the_prompt(cli, sandbox):
    sandbox()
    assert "You said: piped\n" in cli("ask", "-m", "gpt-4", input="piped\n").stdout


def test_ask_says_how_the_model_is_to_answer(cli, service):
    server = service(openai_stream("Yes"))
    options = ("--system", "Be brief.", "--temperature", "0.5", "--max-tokens", "9")
    assert cli("ask", "-m", "gpt-4", "Hello", *options).stdout == "Yes\n"
    (request,) = server.requests
    asked = request.json()
    assert asked["messages"] == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]
    assert (asked["temperature"], asked["max_tokens"]) == (0.5, 9)


def test_a_rate_limit_says_when_to_come_back(cli, service):
    service(http_response(429, openai_error("Slow down"), {"retry-after": "30"}))
    assert "HTTP 429: Slow down (Retry-After: 30 s)" in _error_line(cli("ask", "-m", "gpt-4", "Hello", "--timeout", "5"))


def test_a_model_that_the_service_denies_has_neighbours(cli, service, monkeypatch):
    def answer(request):
        if request.target.endswith("/models"):
            return http_response(200, {"object": "list", "data": [{"id": name} for name in ("gpt-5-mini", "gpt-4o")]})
        return http_response(404, {"error": {"message": "The model does not exist.", "code": "model_not_found"}})

    monkeypatch.setenv("OPENAI_API_KEY", "sk-1")
    monkeypatch.setenv("OPENAI_BASE_URL", f"{service(answer).url}/v1")
    ask = ("ask", "-m", "openai/gpt-5-minii", "Hello")
    assert "openai has not listed its models yet" in _error_line(cli(*ask))
    assert cli("models", "gpt-5", "--refresh").exit_code == 0
    assert _error_line(cli(*ask)).endswith("The model does not exist.; did you mean 'gpt-5-mini'?")


@pytest.fixture
def new_account(service, monkeypatch):
    """A service that has models, of which nothing is known yet."""

    def answer(request):
        if request.method == "GET":
            return http_response(200, {"object": "list", "data": [{"id": "gpt-4o"}]})
        return openai_stream("Hi.") if request.json().get("stream") else http_response(200, openai_completion("Hi."))

    monkeypatch.setenv("OPENAI_API_KEY", "sk-1")
    monkeypatch.setenv("OPENAI_BASE_URL", f"{service(answer).url}/v1")


def test_the_first_chat_of_a_new_account(cli, new_account):
    result = cli("chat", "-m", "gpt-4o", input="Hello\n/model gpt-4o\n")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "Hi.\n", "The model is gpt-4o.\n")


def test_the_first_batch_of_a_new_account(cli, new_account, tmp_path):
    (tmp_path / "in.jsonl").write_text('{"messages": "Hello"}\n', "utf-8")
    assert cli("batch", str(tmp_path / "in.jsonl"), "-o", "-", "-m", "gpt-4o").exit_code == 0


def test_the_first_default_model_of_a_new_account(cli, new_account, settings_file):
    assert "Warning" not in cli("models", "default", "gpt-4o").stderr
    assert cli("ask", "Hello").stdout == "Hi.\n"


def test_a_wrong_key_is_the_first_thing_that_a_new_account_reads(cli, service, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1")
    url = service(lambda _: http_response(401, openai_error("Incorrect API key.", code="invalid_api_key"))).url
    monkeypatch.setenv("OPENAI_BASE_URL", f"{url}/v1")
    said = cli("ask", "-m", "gpt-4o", "Hello").stderr
    assert said.startswith("Error: openai/gpt-4o: HTTP 401: Incorrect API key.")  # OpenAI is asked, although its list is refused
    assert "did you mean" not in said


def test_route_names_a_model_of_a_sequence_that_is_not_known_yet(cli, new_account):
    result = cli("route", "gpt-4o", "openai/gpt-4o")
    asks = "a call asks it, and so do Hub.refresh() and `providerhub models --refresh`"
    assert result.stdout == f"1. openai/gpt-4o\n-  gpt-4o: unknown model (openai has not listed its models yet: {asks})\n"


def test_a_pinned_model_of_a_list_that_fails_names_the_cause_and_no_second_pin(cli, service, monkeypatch):
    monkeypatch.setenv("ANTHROPIC_API_KEY", "canary")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", service(lambda _: http_response(404, {"error": {"message": "Gone"}})).url)
    said = _error_line(cli("ask", "-m", "anthropic/other", "Hello"))
    assert said.startswith("Error: anthropic could not list its models: ProtocolError: HTTP 404: Gone")
    assert said.endswith("for the model 'other' set models = [\"other\"] under [providers.anthropic]")


def test_the_fix_of_a_configured_provider_comes_before_those_that_are_not_configured(cli, monkeypatch):
    monkeypatch.setenv("GROQ_API_KEY", "canary")
    said = _error_line(cli("ask", "-m", "llama-3.3", "Hello"))
    assert said.index("groq may have it, and serves only calls that name it: ask for 'groq/llama-3.3'") < said.index(
        "openai (set"
    )
    said = _error_line(cli("ask", "-m", "gpt-4o", "Hello"))
    assert said.index("openai (set OPENAI_API_KEY)") < said.index("groq may have it")  # the vendor of the model comes first


def test_ask_as_json(cli, sandbox):
    sandbox()
    answer = json.loads(cli("ask", "-m", "gpt-4", "Hello", "--json").stdout)
    assert answer["text"].endswith("You said: Hello")
    assert (answer["provider"], answer["model"], answer["finish_reason"]) == ("lockchat", "gpt-4", "stop")
    assert [a["outcome"] for a in answer["route"]["attempts"]] == ["ok"]


def test_ask_as_json_gives_an_error_as_json_too(cli, sandbox):
    sandbox(fault="garbage")
    result = cli("ask", "-m", "gpt-4", "Hello", "--json")
    said = json.loads(result.stdout)["error"]
    assert said["type"] == "ProtocolError"
    assert said["message"] in _error_line(result)
    assert said["route"]["attempts"][0]["error"]["type"] == "ProtocolError"


def test_ask_writes_a_refusal_to_standard_error(cli, service):
    service(chunked(sse(openai_chunk(refusal="I would rather not."), openai_chunk(finish_reason="stop"))))
    result = cli("ask", "-m", "gpt-4", "Hello")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "The model declined: I would rather not.\n"


@pytest.mark.parametrize("how", ["--stream", "--no-stream"])
def test_ask_says_that_an_answer_was_cut(cli, service, how):
    service(chunked(sse(openai_chunk("Half an"), openai_chunk(finish_reason="length"))))
    result = cli("ask", "-m", "gpt-4", "Hello", how)
    assert (result.exit_code, result.stdout) == (0, "Half an\n")
    assert "cut" in result.stderr
    assert "max_tokens" in result.stderr


PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,UE5H"}}


def test_ask_names_the_media_of_an_answer_and_prints_them_on_request(cli, service):
    service(chunked(sse(openai_chunk("Look:", images=[PICTURE]), openai_chunk(finish_reason="stop"))), repeat=True)
    assert "image/png" in cli("ask", "-m", "gpt-4", "Hello").stderr
    (named,) = json.loads(cli("ask", "-m", "gpt-4", "Hello", "--json").stdout)["media"]
    assert (named["type"], named["bytes"], "base64" in named) == ("image/png", 3, False)
    (printed,) = json.loads(cli("ask", "-m", "gpt-4", "Hello", "--json", "--media").stdout)["media"]
    assert (printed["base64"], "bytes" in printed) == ("UE5H", False)


def test_the_message_of_a_printed_answer_goes_back(cli, service):
    script = chunked(sse(openai_chunk("One.", reasoning_details=[{"id": "rs_1"}]), openai_chunk(finish_reason="stop")))
    server = service(script, repeat=True)
    answer = json.loads(cli("ask", "-m", "gpt-4", "Hello", "--json").stdout)
    with Hub() as hub:
        hub.complete("gpt-4", ["Hello", answer["message"], {"role": "user", "content": "And?"}][1:])
    assert server.requests[1].json()["messages"][0]["reasoning_details"] == [{"id": "rs_1"}]


def test_ask_traces_to_standard_error(cli, sandbox):
    sandbox()
    result = cli("ask", "-m", "gpt-4", "Hello", "--trace")
    assert "1. lockchat/gpt-4: ok" in result.stderr
    assert "1. lockchat" not in result.stdout


def test_ask_traces_a_failure_too(cli, sandbox):
    sandbox(fault="model-not-found")
    result = cli("ask", "-m", "gpt-4", "Hello", "--trace")
    assert result.exit_code == 1
    assert "1. lockchat/gpt-4: error" in result.stderr


def test_ask_an_unknown_model_names_the_near_one(cli):
    assert "did you mean 'gpt-4'" in _error_line(cli("ask", "-m", "gpt-44", "Hello"))


def test_ask_without_configuration_names_the_variable(cli):
    assert "LOCKCHAT_URL" in _error_line(cli("ask", "-m", "gpt-4", "Hello"))


def test_ask_ends_a_cut_answer_with_what_came_and_an_error(cli, sandbox):
    sandbox(fault="cut")
    result = cli("ask", "-m", "gpt-4", "Hello")
    _error_line(result)
    assert result.stdout.startswith("This is")
    assert result.stdout.endswith("\n")


@pytest.mark.parametrize("words", [("--debug", "ask"), ("ask", "--debug")])
def test_debug_shows_the_traceback(cli, words):
    result = cli(*words, "-m", "nobody", "Hello")
    assert result.exit_code == 1
    assert "Traceback" in result.stderr
    assert result.stderr.splitlines()[-1].startswith("Error: no provider has")


def test_a_wrong_setting_is_one_line(cli):
    assert "'nobody'" in _error_line(cli("plugins", env={"PROVIDERHUB_BLOCK": "nobody"}))


def test_a_bug_of_ours_is_one_line_that_says_how_to_see_more(cli, monkeypatch):
    monkeypatch.setattr(Hub, "instances", lambda _self: 1 / 0)
    assert "--debug" in _error_line(cli("plugins"))


def test_ctrl_c_is_quiet(cli, monkeypatch):
    def interrupted(_self):
        raise KeyboardInterrupt

    monkeypatch.setattr(Hub, "instances", interrupted)
    result = cli("plugins")
    assert (result.exit_code, result.output) == (130, "")


def test_plugins_that_are_not_configured_are_one_row_for_each_distribution(cli):
    rows = cli("plugins").stdout.splitlines()
    assert "providerhub-lockchat\tlockchat (LOCKCHAT_URL)" in rows
    (row,) = [row for row in rows if row.startswith("providerhub-anthropic")]
    assert "anthropic (ANTHROPIC_API_KEY), anthropic-bedrock (AWS_REGION)" in row
    assert max(map(len, rows)) <= 200
    assert rows[0].split("\t") == ["name", "state", "models"]
    assert "echo\tready\techo-1" in rows


def test_plugins_in_full(cli):
    (row,) = [row for row in cli("plugins", "-v").stdout.splitlines() if row.startswith("lockchat\t")]
    for said in ("providerhub-lockchat", "not configured", "LOCKCHAT_URL", "gpt-4", " ms"):
        assert said in row


def test_plugins_as_json(cli, sandbox):
    sandbox()
    found = json.loads(cli("plugins", "--json").stdout)
    record = next(p for p in found["plugins"] if p["name"] == "lockchat")
    assert (record["state"], record["distribution"]) == ("ready", "providerhub-lockchat")
    assert "gpt-4" in record["models"]


def test_no_plugins_names_the_installation(cli):
    result = cli("plugins", env={"PROVIDERHUB_DISABLE_AUTOLOAD": "1"})
    assert result.exit_code == 0
    for name in ("openai", "anthropic", "gemini", "ollama"):
        assert name in result.stderr


@pytest.mark.parametrize(("pattern", "found"), [("gpt-4", 1), ("gpt-*", 2), ("GPT", 2), ("", 2), ("gpt-?", 1)])
def test_models(cli, pattern, found):
    assert cli("models", "gpt-4").exit_code == 1  # not configured yet
    models = json.loads(cli("models", pattern, "--all", "--json").stdout)
    assert len([m for m in models if m["provider"] == "lockchat"]) == found
    assert all(m["stream"] for m in models if m["provider"] == "lockchat")


def test_models_as_table(cli, sandbox):
    sandbox()
    header, *rows = cli("models", "gpt-3").stdout.splitlines()
    assert header.split("\t")[:2] == ["model", "provider"]
    assert rows[0].split("\t")[:2] == ["gpt-3.5-turbo", "lockchat"]


def test_models_without_a_match(cli, sandbox):
    sandbox()
    (line,) = [line for line in cli("models", "nothing").stderr.splitlines() if line.startswith("Error: ")]
    assert "'nothing'" in line
    assert "--all" in line


PRICED = """
[aliases]
fast = ["acme-1", "gpt-4"]
[providers.lockchat]
models = [{ name = "acme-1", price_in = 0.5, price_out = 2, context_window = 128000, max_output_tokens = 4096, aliases = ["a1"] }]
"""


def test_models_show_the_user_s_aliases_prices_windows_and_sources(cli, sandbox, settings_file):
    sandbox()
    settings_file.write_text(PRICED, "utf-8")
    rows = [line.split("\t") for line in cli("models").stdout.splitlines()]
    assert ["fast", "alias", "", "", "settings", "stands for acme-1, gpt-4"] in rows
    assert ["acme-1", "lockchat", "128k", "0.5/2", "settings", "also a1"] in rows
    alias, model, *_ = json.loads(cli("models", "--json").stdout)
    assert (alias["model"], alias["stands_for"]) == ("fast", ["acme-1", "gpt-4"])
    (model,) = json.loads(cli("models", "lockchat/acme", "--json").stdout)
    assert (model["price_out"], model["context_window"], model["source"]) == (2, 128000, "settings")
    assert (model["max_output_tokens"], model["sources"]["max_output_tokens"]) == (4096, "settings")


@pytest.mark.parametrize(
    ("tokens", "shown"), [(None, ""), (900, "900"), (8192, "8.2k"), (200_000, "200k"), (1_000_000, "1M"), (1_048_576, "1M")]
)
def test_windows_in_short(tokens, shown):
    assert _listings._window(tokens) == shown


def test_the_default_model_is_kept_in_the_settings_file(cli, service, settings_file):
    server = service(lambda request: http_response(200, openai_completion("Yes")), repeat=True)
    asked = cli("ask", "Hello", "--no-stream")
    assert asked.exit_code == 2
    assert "providerhub models default" in asked.stderr
    settings_file.write_text("# mine\ntimeout = 30 # seconds\n", "utf-8")
    saved = cli("models", "default", "gpt-4")
    assert (saved.exit_code, saved.stdout) == (0, "")
    assert saved.stderr == f"The default model is gpt-4; it is saved in {settings_file}.\n"
    assert settings_file.read_text("utf-8").startswith("# mine\ntimeout = 30 # seconds\n")
    assert cli("models", "default").stdout == "gpt-4\n"
    assert json.loads(cli("models", "default", "--json").stdout) == ["gpt-4"]
    assert cli("ask", "Hello", "--no-stream").stdout == "Yes\n"
    assert server.requests[-1].json()["model"] == "gpt-4"


def test_a_default_model_that_no_provider_has_is_refused(cli, sandbox, settings_file):
    sandbox()
    result = cli("models", "default", "gpt-4", "gpt-44")
    assert result.exit_code == 1
    assert _error_line(result).startswith("Error: no provider has the model 'gpt-44'")
    assert _error_line(result).endswith("did you mean 'gpt-4'?; nothing was saved")
    assert settings_file.read_text("utf-8") == ""


def test_a_default_model_whose_provider_cannot_be_asked_yet_is_saved_with_a_warning(cli, sandbox, settings_file):
    sandbox()
    result = cli("models", "default", "gpt-4", "openai/gpt-5")
    assert result.exit_code == 0
    (warning,) = [line for line in result.stderr.splitlines() if line.startswith("Warning: ")]
    assert "OPENAI_API_KEY" in warning
    assert cli("models", "default").stdout == "gpt-4, openai/gpt-5\n"


@pytest.mark.parametrize("text", ["timeout = -1\n", "not TOML"])
def test_a_settings_file_with_a_mistake_is_not_changed(cli, settings_file, text):
    settings_file.write_text(text, "utf-8")
    line = _error_line(cli("models", "default", "gpt-4"))
    assert f"{settings_file}:1" in line
    assert settings_file.read_text("utf-8") == text


def test_nothing_is_saved_where_the_settings_are_no_file(cli):
    assert "PROVIDERHUB_CONFIG" in _error_line(cli("models", "default", "gpt-4"))


def test_the_default_model_cannot_be_the_alias_itself(cli, settings_file):
    assert cli("models", "default", "default").exit_code == 2
    assert settings_file.read_text("utf-8") == ""


def test_route(cli, sandbox):
    sandbox()
    assert cli("route", "gpt-4", "--stream", "--tools", "--image").stdout.startswith("1. lockchat/gpt-4")


def test_route_as_json(cli, sandbox):
    sandbox()
    plan = json.loads(cli("route", "lockchat/gpt-4", "--json").stdout)
    assert [(c["provider"], c["model"]) for c in plan["candidates"]] == [("lockchat", "gpt-4")]


def test_route_says_why_no_candidate_is_left(cli):
    result = cli("route", "gpt-4", "--json")
    assert "LOCKCHAT_URL" in _error_line(result)
    assert json.loads(result.stdout)["error"]["route"]["skipped"][0]["reason"] == "not configured"


def test_route_of_a_sequence(cli, sandbox):
    sandbox()
    assert cli("route", "echo/echo-1", "gpt-4").stdout.splitlines()[:2] == ["1. echo/echo-1", "2. lockchat/gpt-4"]


@pytest.mark.parametrize("option", ["--stream", "--tools", "--image"])
def test_route_passes_the_needs_on(cli, monkeypatch, option):
    class Plain:
        def stream(self, request, call):
            yield "?"

    model = ModelInfo("plain", supports_stream=False, supports_tools=False, supports_images=False)
    start = Hub.__init__

    def with_plain(self, *args):
        start(self, *args)
        self.register(ProviderInfo(name="plain", models=(model,)), Plain())

    monkeypatch.setattr(Hub, "__init__", with_plain)
    assert cli("route", "plain").stdout == "1. plain/plain\n"
    line = _error_line(cli("route", "plain", option))
    assert f"no {option.strip('-')}" in line
    assert ("--no-stream" in line) == (option == "--stream")


def test_demo_without_a_sandbox_names_the_installation(cli, monkeypatch):
    monkeypatch.setattr(_demo, "in_group", lambda _group: [])
    assert "pip install providerhub-lockchat" in _error_line(cli("demo"))


def test_demo_ends_with_the_next_step_and_shows_nothing_that_looks_broken(cli):
    told = cli("demo").stdout
    assert "blocked" not in told
    assert "not configured" not in told
    assert told.split("Next\n")[1] == (
        "keep a key: providerhub keys set anthropic (or set ANTHROPIC_API_KEY); `providerhub doctor` names the others\n"
    )


def test_demo_does_without_the_settings_file(cli, tmp_path, monkeypatch):
    (tmp_path / "providerhub").mkdir()
    (tmp_path / "providerhub" / "settings.toml").write_text("this is not TOML", "utf-8")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("PROVIDERHUB_CONFIG", str(tmp_path / "providerhub" / "settings.toml"))
    result = cli("demo")
    assert result.exit_code == 0, result.output
    assert "lockchat-demo/gpt-4: ok" in result.stdout


def test_demo_is_not_in_the_journal(cli, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    before = cli("logs", "--json").stdout
    assert cli("demo").exit_code == 0
    assert cli("logs", "--json").stdout == before


def test_demo_gives_the_environment_back(cli, monkeypatch):
    monkeypatch.setenv("LOCKCHAT_URL", "http://127.0.0.1:9")
    with _demo._own_environment("lockchat"):
        assert "LOCKCHAT_URL" not in _demo.os.environ
    assert _demo.os.environ["LOCKCHAT_URL"] == "http://127.0.0.1:9"
