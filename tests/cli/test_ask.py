"""The requests of `ask`: models in order, attachments, templates, schemas, options; and continued conversations."""

from __future__ import annotations

import json
import os
import re
import stat
import sys

import pytest

from providerhub.cli import _inputs as inputs
from providerhub.cli import _store as store
from providerhub.testing import Close, chunked, http_response, openai_chunk, openai_completion, sse

PNG = b"\x89PNG\r\n\x1a\n...."
MARKDOWN = "# Title\n\nSome *text* that is\nwrapped.\n\n```python\nx = 1\n\ny = 2\n```\n\n1. one\n\n   more\n2. two\n\nEnd."


@pytest.fixture
def server(service):
    """A service that says how many messages it got."""

    def answer(request):
        usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
        return http_response(200, openai_completion(f"{len(request.json()['messages'])} messages", usage=usage))

    return service(answer)


@pytest.fixture
def ask(cli):
    def run(*words, **knobs):
        return cli("ask", "-m", "gpt-4", "--no-stream", *words, **knobs)

    return run


def _asked(server):
    return server.requests[-1].json()


def _content(server):
    return _asked(server)["messages"][-1]["content"]


def test_several_models_are_tried_in_their_order(cli, service):
    def answer(request):
        first = request.json()["model"] == "gpt-4"
        return http_response(401, {"error": {"message": "no"}}) if first else http_response(200, openai_completion("Yes"))

    service(answer)
    result = cli("ask", "-m", "gpt-4", "-m", "echo/echo-1", "Hello", "--json")
    assert [(one["model"], one["outcome"]) for one in json.loads(result.stdout)["route"]["attempts"]] == [
        ("gpt-4", "error"),
        ("echo-1", "ok"),
    ]


def test_files_become_parts_of_the_message(ask, server, tmp_path):
    picture, sound, document, text = (tmp_path / name for name in ("a.bin", "a.mp3", "a.pdf", "notes.csv"))
    picture.write_bytes(PNG)
    sound.write_bytes(b"ID3....")
    document.write_bytes(b"%PDF-1.7")
    text.write_text("a,b\n1,2\n", "utf-8")
    files = [part for path in (picture, sound, document, text) for part in ("-a", str(path))]
    result = ask("Look", *files, "-a", "https://acme.example/cat.png?size=1")
    assert result.exit_code == 0, result.output
    look, image, audio, file, notes, address = _content(server)
    assert look == {"type": "text", "text": "Look"}
    assert image["image_url"]["url"].startswith("data:image/png;base64,")
    assert audio["input_audio"]["format"] == "mp3"
    assert file["file"]["filename"] == "a.pdf"
    assert notes == {"type": "text", "text": "notes.csv:\n\na,b\n1,2\n"}
    assert address["image_url"]["url"] == "https://acme.example/cat.png?size=1"


def test_a_piped_file_is_an_attachment(ask, server):
    assert ask("Look", "-a", "-", input=PNG).exit_code == 0
    text, image = _content(server)
    assert (text["text"], image["type"]) == ("Look", "image_url")


def test_an_attachment_needs_no_prompt(ask, server, tmp_path):
    (tmp_path / "a.txt").write_text("all of it", "utf-8")
    assert ask("-a", str(tmp_path / "a.txt")).exit_code == 0
    assert _content(server) == [{"type": "text", "text": "a.txt:\n\nall of it"}]


@pytest.mark.parametrize(("name", "said"), [("absent.png", "No such file"), ("odd", "media type")])
def test_a_file_that_cannot_be_sent_is_refused(ask, server, tmp_path, name, said):
    (tmp_path / "odd").write_bytes(b"\xff\x00\xfe\x80")
    result = ask("Look", "-a", str(tmp_path / name))
    assert result.exit_code == 1
    assert name in result.stderr
    assert said in result.stderr
    assert server.requests == []


def test_options_are_keywords_of_the_call_or_the_vendor_s_own(ask, server):
    assert (
        ask(
            "Hi", "-o", "temperature", "0.5", "-o", "stop", '["x", "y"]', "-o", "user", "me", "-o", "lockchat.tier", "1"
        ).exit_code
        == 0
    )
    asked = _asked(server)
    assert (asked["temperature"], asked["stop"], asked["user"], asked["tier"]) == (0.5, ["x", "y"], "me", 1)


def test_a_wrong_option_is_refused_before_anything_is_sent(ask, server):
    result = ask("Hi", "-o", "max_tokens", "many")
    assert result.exit_code == 1
    assert "max_tokens" in result.stderr
    assert server.requests == []


def test_the_fields_of_a_schema(ask, service):
    server = service(http_response(200, openai_completion('{"name": "Ada", "age": 36, "tags": ["x"]}')))
    result = ask("Who?", "--schema", "name: the first name, age int, tags str[]")
    assert json.loads(result.stdout) == {"name": "Ada", "age": 36, "tags": ["x"]}
    told = _asked(server)["response_format"]["json_schema"]
    assert told["strict"] is True
    properties = told["schema"]["properties"]
    assert properties["name"] == {"description": "the first name", "type": "string"}
    assert (properties["age"]["type"], properties["tags"]["items"]) == ("integer", {"type": "string"})


def test_an_answer_that_does_not_fit_the_fields_is_an_error(ask, service):
    service(http_response(200, openai_completion('{"name": 1}')), repeat=True)
    result = ask("Who?", "--schema", "name")
    assert result.exit_code == 1
    assert "does not fit" in result.stderr


@pytest.mark.parametrize("as_file", [True, False])
def test_a_json_schema(ask, server, tmp_path, as_file):
    text = json.dumps({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]})
    (tmp_path / "schema.json").write_text(text, "utf-8")
    assert ask("Who?", "--schema", str(tmp_path / "schema.json") if as_file else text).exit_code == 0
    told = _asked(server)["response_format"]["json_schema"]
    assert told["schema"] == {**json.loads(text), "additionalProperties": False}


@pytest.mark.parametrize("schema", ["absent.json", "name, age whole", "{not json", "name, name", "{", "", "[1]"])
def test_a_wrong_schema_is_refused(ask, server, schema):
    result = ask("Who?", "--schema", schema)
    assert result.exit_code == 2, result.output
    assert "--schema" in result.stderr
    assert server.requests == []


def test_a_template_takes_the_prompt_and_values(ask, server, tmp_path):
    template = tmp_path / "t.txt"
    template.write_text('Translate into {language}, as {{language}} or {"a": 1}:\n{input}', "utf-8")
    assert ask("Hello", "-t", str(template), "-p", "language", "German").exit_code == 0
    assert _content(server) == 'Translate into German, as {language} or {"a": 1}:\nHello'


def test_a_template_in_the_folder_is_followed_by_the_prompt(ask, server):
    folder = store.config_folder("templates")
    folder.mkdir(parents=True)
    (folder / "haiku.txt").write_text("Write a haiku.\n", "utf-8")
    assert ask("-t", "haiku").exit_code == 0
    assert _content(server) == "Write a haiku.\n"
    assert ask("-t", "haiku", "About rain.").exit_code == 0
    assert _content(server) == "Write a haiku.\n\nAbout rain."
    result = ask("-t", "haikoo", "About rain.")
    assert result.exit_code == 2
    assert str(folder) in result.stderr
    assert "haiku" in result.stderr.replace("haikoo", "")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-p", "tone", "dry"], "-p tone: there is no template; add -t NAME"),
        (["-t", "{template}", "-p", "tone", "dry"], "has no place {tone}"),
        (["-o", "messages", "[]"], "-o messages: give the message as PROMPT"),
        (["-o", "model", "5"], "-o model: name the model with -m MODEL"),
        (["-o", "temprature", "1"], "did you mean 'temperature'? A vendor's own option of that name is '*.temprature'"),
    ],
)
def test_what_would_be_ignored_is_refused(ask, server, tmp_path, words, said):
    (tmp_path / "t.txt").write_text("{input}", "utf-8")
    result = ask("Hello", *(word.replace("{template}", str(tmp_path / "t.txt")) for word in words))
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.split())
    assert server.requests == []


def test_a_value_that_a_template_lacks_is_named(ask, server, tmp_path):
    (tmp_path / "t.txt").write_text("{input} {tone}", "utf-8")
    result = ask("Hello", "-t", str(tmp_path / "t.txt"))
    assert result.exit_code == 1
    assert "-p tone VALUE" in result.stderr
    assert server.requests == []


def test_the_cost_of_an_answer_is_printed_or_unknown(ask, server):
    assert ask("Hello", "--cost").stderr == "tokens: 3 in, 2 out; cost: unknown\n"


def test_the_cost_that_the_service_states(ask, service):
    service(http_response(200, openai_completion("Yes", usage={"prompt_tokens": 3, "completion_tokens": 2, "cost": 0.00025})))
    assert ask("Hello", "--cost").stderr == "tokens: 3 in, 2 out; cost: 0.000250 USD\n"


def test_a_conversation_goes_on(ask, cli, server):
    assert ask("-s", "Be brief.", "One").exit_code == 0
    assert cli("ask", "-c", "--no-stream", "Two").stdout == "4 messages\n"
    asked = _asked(server)
    assert asked["model"] == "gpt-4"
    assert [message["role"] for message in asked["messages"]] == ["system", "user", "assistant", "user"]
    assert ask("Other").exit_code == 0
    (first, _other) = sorted(store.folder().glob("*.jsonl"), key=lambda path: path.stat().st_size, reverse=True)
    assert cli("ask", "--conversation", first.stem, "--no-stream", "Three").stdout == "6 messages\n"
    assert cli("ask", "-c", "--no-stream", "-s", "", "Four").stdout == "7 messages\n"


def test_an_answer_that_broke_off_is_kept_as_it_is(ask, service):
    service(chunked(sse(openai_chunk("Half an"), Close())))
    assert ask("One", "--stream").exit_code == 1
    server = service(http_response(200, openai_completion("Two.")))
    ask("-c", "Two")
    assert [one["content"] for one in _asked(server)["messages"]] == ["One", "Half an [interrupted]", "Two"]


def test_conversations_are_listed_and_removed(ask, cli, server, tmp_path):
    picture = tmp_path / "cat.png"
    picture.write_bytes(PNG)
    for words in (("One " * 100,), ("Look", "-a", str(picture), "-m", "gpt-3.5-turbo")):
        ask(*words)
    kept = sorted(store.folder().glob("*"), key=lambda path: "Look" in path.read_text("utf-8"))
    os.utime(kept[0], (0, 0))
    looked, one = json.loads(cli("chats", "list", "--json").stdout)
    assert (one["name"], one["questions"], one["model"]) == (kept[0].stem, 1, "gpt-4")
    assert (looked["begins"], looked["model"], looked["file"]) == ("Look [image_url]", "gpt-4, gpt-3.5-turbo", str(kept[1]))
    assert all(len(line) < 200 for line in cli("chats", "list").stdout.splitlines())
    assert cli("chats", "show", kept[1].stem).stdout.splitlines()[0] == "user: Look [image_url]"
    shown = json.loads(cli("chats", "show", kept[0].stem, "--json").stdout)
    assert (shown["name"], shown["model"]) == (kept[0].stem, "gpt-4")
    assert [message["role"] for message in shown["messages"]] == ["user", "assistant"]
    assert "no conversation 'x'" in cli("chats", "show", "x").stderr
    kept[0].write_text("nonsense", "utf-8")
    assert "unreadable: " in cli("chats", "list").stdout
    assert "no conversation 'x'" in cli("chats", "remove", "x").stderr
    assert cli("chats", "remove", kept[0].stem, f"{kept[1].stem[:-1]}*").exit_code == 0
    assert not store.saved()
    assert not cli("chats", "list").stdout


@pytest.mark.skipif(sys.platform == "win32", reason="permissions of POSIX")
def test_only_the_user_may_read_a_conversation(ask, server):
    ask("One")
    (path,) = store.folder().glob("*.jsonl")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_nothing_is_saved_that_should_not_be(ask, server, service):
    ask("One", "--no-save")
    service(http_response(400, {"error": {"message": "no"}}))
    assert ask("One").exit_code == 1
    assert not store.folder().exists()


@pytest.mark.parametrize(
    ("words", "said"), [(("-c",), "no conversation to continue"), (("--conversation", "x"), "no conversation 'x'")]
)
def test_a_conversation_that_is_not_there(ask, server, words, said):
    result = ask(*words, "One")
    assert result.exit_code == 1
    assert said in result.stderr
    assert server.requests == []


def test_a_file_that_is_no_conversation_is_named_with_its_line(ask, server):
    ask("One")
    (path,) = store.folder().glob("*.jsonl")
    path.write_text(path.read_text("utf-8") + '{"messages": []}\n', "utf-8")
    result = ask("-c", "Two")
    assert result.exit_code == 1
    assert f"{path}:2" in result.stderr


@pytest.mark.unix
def test_a_disk_that_takes_no_conversation_costs_a_line(ask, server):
    store.folder().parent.mkdir(parents=True)
    store.folder().write_text("a file in the place of the folder", "utf-8")
    result = ask("One")
    assert (result.exit_code, result.stdout) == (0, "1 messages\n")
    assert "--no-save" in result.stderr


def test_a_terminal_shows_markdown_in_its_form(terminal, service):
    pieces = [openai_chunk(MARKDOWN[place : place + 7]) for place in range(0, len(MARKDOWN), 7)]
    service(chunked(sse(*pieces, openai_chunk(finish_reason="stop"))), repeat=True)
    child = terminal("ask", "-m", "gpt-4", "Hello", "--no-save", term="xterm")
    child.expect_exact("End.")
    child.expect(r"\r\n$")
    child.wait()
    told = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", child.before)
    assert "*text*" not in told
    plain = terminal("ask", "-m", "gpt-4", "Hello", "--no-save", "--no-markdown", term="xterm")
    plain.expect_exact("Some *text* that is")
    plain.wait()


def test_blocks_end_at_blank_lines_outside_of_code_and_lists():
    from providerhub.cli._markdown import _end

    ends = {MARKDOWN[: _end(MARKDOWN[:size])] for size in range(len(MARKDOWN) + 1)}
    assert sorted(ends, key=len) == [
        "", "# Title\n\n", MARKDOWN[: MARKDOWN.index("```python")], MARKDOWN[: MARKDOWN.index("1. one")],
        MARKDOWN[: MARKDOWN.index("End.")],
    ]  # fmt: skip


def test_values_in_places():
    assert inputs.filled("{a}{b} {{a}} {}", {"a": "1", "b": 2}, "") == "12 {a} {}"
