"""Commands that other distributions add, seen by a separate Python process."""

from __future__ import annotations

import click
import pytest

from providerhub._finding.installed import OURS
from providerhub.cli._app import COMMANDS

GOOD = """
import click

@click.command()
@click.option("--loud", is_flag=True)
def hello(loud):
    "Say hello."
    click.echo("HELLO" if loud else "hello")

@click.command()
def fails():
    raise ValueError("no luck")

not_a_command = 42
"""

RUN = """
import sys
from providerhub.cli import main
sys.argv = ["providerhub", *{words!r}]
try:
    main()
finally:
    sys.stdout.flush()
    print("imported:", *[name for name in sys.modules if name.startswith(("extra", "providerhub._hub"))])
"""


@pytest.fixture
def run(site):
    site.write("extra.py", GOOD)
    site.write("extra_raising.py", "raise RuntimeError('no licence')")
    site.write("extra_leaving.py", "raise SystemExit(3)")

    def run(*words, code=0):
        script = f"import sys; sys.stderr = sys.stdout\n{RUN.format(words=words)}"
        return site.run(script, code_expected=code)

    return run


def _offer(site, name="extra", **commands):
    lines = "".join(f"{command.replace('_', '-')} = {target}\n" for command, target in commands.items())
    site.distribution(name, f"[providerhub.commands]\n{lines}")


def test_help_names_the_distribution_and_imports_nothing(site, run):
    _offer(site, hello="extra:hello")
    out = run("--help")
    assert "  hello        Added by extra.\n" in out
    assert out.endswith("imported:\n")


def test_it_runs_with_its_options_and_with_debug(site, run):
    _offer(site, hello="extra:hello", fails="extra:fails")
    assert run("hello", "--loud").startswith("HELLO\n")
    assert "Say hello." in run("hello", "--help")
    assert "Error: ValueError: no luck; `--debug` shows the traceback\n" in run("fails", code=1)
    assert "Traceback" in run("fails", "--debug", code=1)


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("extra_missing:hello", "importing extra_missing:hello raised ModuleNotFoundError: No module named 'extra_missing'"),
        ("extra:nothing", "importing extra:nothing raised AttributeError: module 'extra' has no attribute 'nothing'"),
        ("extra_raising:hello", "importing extra_raising:hello raised RuntimeError: no licence"),
        ("extra_leaving:hello", "importing extra_leaving:hello raised SystemExit: 3"),
        ("extra:not_a_command", "extra:not_a_command is not a click command, but of type int"),
        ("extra", "extra is not a click command, but of type module"),
    ],
)
@pytest.mark.parametrize("words", [(), ("--help",), ("--loud", "x")])
def test_a_broken_command_says_why_when_it_is_run_and_the_others_work(site, run, target, reason, words):
    _offer(site, broken=target, hello="extra:hello")
    assert "  broken       Added by extra.\n" in run("--help")
    assert f"Error: the command 'broken' of extra cannot be used: {reason}\n" in run("broken", *words, code=1)
    assert run("hello").startswith("hello\n")


def test_of_two_distributions_with_one_name_neither_is_used_and_both_are_named(site, run):
    _offer(site, "extra-a", hello="extra:hello")
    _offer(site, "extra-b", hello="extra:hello", fails="extra:fails")
    reason = "offered by extra-a and extra-b; uninstall one of them"
    assert f"Unusable: {reason}." in " ".join(run("--help").split())
    assert f"cannot be used: {reason}\n" in run("hello", code=1)
    assert "no luck" in run("fails", code=1)


def test_a_second_copy_of_a_distribution_is_no_conflict(site, run):
    _offer(site, hello="extra:hello")
    site.distribution("extra", "[providerhub.commands]\nhello = extra:fails\n", version="0.9")
    assert "Unusable" not in run("--help")


@pytest.mark.parametrize("name", COMMANDS)
def test_the_cores_own_commands_are_not_overridden(site, run, name):
    _offer(site, **{name: "extra:hello"})
    out = run("--help")
    assert COMMANDS[name][1] in out
    assert "Added by extra" not in out


def test_metadata_that_cannot_be_read_hides_no_other_command(site, run):
    _offer(site, hello="extra:hello")
    site.distribution("odd", "[providerhub.commands]\nthis is no entry\n")
    assert "Added by extra." in run("--help")
    assert "Added by odd." not in run("--help")


@pytest.mark.parametrize(("name", "distribution"), OURS["commands"].items())
def test_a_command_of_a_distribution_that_is_not_installed_says_what_to_install(cli, monkeypatch, name, distribution):
    monkeypatch.setattr("providerhub.cli._app.extensions", dict)
    result = cli(name, "echo")
    assert result.exit_code == 2
    assert f"The command {name!r} is in another distribution: pip install providerhub-{distribution}" in result.stderr


def test_an_unknown_command_is_wrong_usage(cli):
    result = cli("nonsense")
    assert result.exit_code == 2
    assert "No such command 'nonsense'" in result.stderr
    names_similar = hasattr(click.exceptions, "NoSuchCommand")  # since click 8.4
    assert ("'models'" in cli("modles").stderr) == names_similar


@pytest.mark.parametrize(("columns", "longest"), [("40", 50), ("60", 58), ("200", 78), ("wide", 78)])
def test_help_fits_the_terminal_as_other_commands_of_click_do(cli, columns, longest):
    lines = cli("--help", env={"COLUMNS": columns}).stdout.splitlines()
    assert longest - 12 < max(map(len, lines)) <= longest
