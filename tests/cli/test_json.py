"""`--json`: each command has this option, standard output is only JSON, and an error is JSON too."""

from __future__ import annotations

import json

import click
import pytest

from providerhub._finding.installed import import_object
from providerhub.cli._app import COMMANDS, extensions
from providerhub.testing import http_response, openai_error, openai_stream


def _leaves(command, *words):
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from _leaves(inner, *words, name)
    else:
        yield words, command


COMMAND_LINES = [
    leaf
    for name, found in {
        **{name: import_object(target) for name, (target, _) in COMMANDS.items()},
        **{name: extension.command() for name, extension in extensions().items()},
    }.items()
    for leaf in _leaves(found, name)
]
ALL = pytest.mark.parametrize(("words", "command"), COMMAND_LINES, ids=[" ".join(words) for words, _ in COMMAND_LINES])


@ALL
def test_each_command_has_the_option(words, command):
    assert any("--json" in parameter.opts for parameter in command.params), words


@ALL
def test_wrong_usage_is_json_too(cli, words, command):
    result = cli(*words, "--absent", "--json")
    assert result.exit_code == 2
    (error,) = json.loads(result.stdout).values()
    assert error["type"] == "NoSuchOption"
    assert "--absent" in error["message"]
    assert result.stderr.endswith(f"Error: {error['message']}\n")


def test_a_command_that_does_not_exist(cli):
    result = cli("askk", "--json")
    assert json.loads(result.stdout)["error"]["type"] == "NoSuchCommand"


def test_a_word_after_two_dashes_is_no_option(cli, sandbox):
    sandbox()
    assert cli("ask", "-m", "gpt-4", "--", "--json").stdout.endswith("You said: --json\n")


def test_the_demo(cli):
    shown = json.loads(cli("demo", "--json").stdout)
    assert [one["provider"] for one in shown["plan"]["candidates"]] == ["lockchat-down", "lockchat-demo"]
    assert [one["outcome"] for one in shown["answer"]["route"]["attempts"]] == ["error", "ok"]
    assert "providerhub" in shown["next"]


def test_a_chat_is_a_line_for_each_event(cli, service):
    service(openai_stream("One."), http_response(400, openai_error("too long")))
    result = cli("chat", "-m", "gpt-4", "--json", input="first\n/route\n/model gpt-3.5-turbo\n/modle\nsecond\n")
    answer, route, note, unknown, failed = map(json.loads, result.stdout.splitlines())
    assert (answer["answer"]["text"], result.exit_code, result.stderr) == ("One.", 1, "")
    assert [one["outcome"] for one in route["route"]["attempts"]] == ["ok"]
    assert route["plan"]["candidates"][0]["model"] == "gpt-4"
    assert note == {"note": "The model is gpt-3.5-turbo."}
    assert unknown["error"]["message"].startswith("unknown command /modle; did you mean '/model'?")
    assert "too long" in failed["error"]["message"]


def test_a_kept_key(cli, settings_file):
    kept = json.loads(cli("keys", "set", "openai", "--file", "--json", input="sk-1").stdout)
    assert (kept["provider"], kept["settings"]) == ("openai", str(settings_file))
    assert json.loads(cli("keys", "remove", "openai", "--json").stdout) == {"provider": "openai", "settings": str(settings_file)}
    assert "keeps no key" in json.loads(cli("keys", "remove", "openai", "--json").stdout)["error"]["message"]


def test_removed_conversations(cli, sandbox):
    sandbox()
    cli("ask", "-m", "gpt-4", "Hello")
    ((name,),) = [[one["name"]] for one in json.loads(cli("chats", "list", "--json").stdout)]
    assert json.loads(cli("chats", "remove", name, "--json").stdout) == {"removed": [name]}


def test_models_that_are_not_found(cli):
    result = cli("models", "absent", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["error"]["message"].startswith("no model matches 'absent'")
