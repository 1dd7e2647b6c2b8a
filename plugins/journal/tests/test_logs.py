"""The command `providerhub logs`, over SQLite and over PostgreSQL."""

import csv
import io
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pexpect
import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from providerhub import Attempt, Completion, ModelNotFoundError, Route, ServerError, Usage
from providerhub_journal import flush
from providerhub_journal._commands import logs
from providerhub_journal._config import Config
from providerhub_journal._database import TABLES, connect
from providerhub_journal._queries import Filter, calls
from providerhub_journal._worker import shared
from providerhub_journal._writer import Writer

NOON = time.mktime((2026, 5, 4, 12, 0, 0, 0, 0, -1))


@pytest.fixture(params=["sqlite", "postgresql"])
def where(request, url):
    """The address of an empty database."""
    if request.param == "sqlite":
        yield url
        return
    address = request.getfixturevalue("postgresql")
    engine = sa.create_engine(address)
    TABLES.drop_all(engine)
    engine.dispose()
    yield address


def fallback(model="m"):
    error = ServerError("busy", provider="a", model=model, status=503)
    first = Attempt(1, "a", model, outcome="error", error=error, duration=0.5)
    return Route(
        (first, Attempt(2, "b", model, outcome="ok", started=0.7, duration=1.5, usage=Usage(10, 20, cost=0.25))), duration=2.2
    )


@pytest.fixture
def run(where, tmp_path, monkeypatch, record):
    """`run(*words)` runs the command; four calls are in the journal."""
    settings = tmp_path / "settings.toml"
    settings.write_text(f'[journal]\nurl = "{where}"\n')
    monkeypatch.setenv("PROVIDERHUB_CONFIG", str(settings))
    writer = shared(Writer, Config(where, content=True, program="demo"))
    prompt = record().request
    writer.put(record("1", started=NOON, metadata={"user": "anna"}))
    writer.put(record("2", started=NOON + 60, metadata={"user": "Jürgen"}, route=fallback()))
    answer = Completion(text="Grüße \0", provider="b", model="big", usage=Usage(1, 2))
    attempt = Attempt(1, "b", "big", outcome="ok", usage=Usage(1, 2))
    writer.put(record("3", started=NOON + 86400, completion=answer, route=Route((attempt,), duration=1.0)))
    failed = {"error": ModelNotFoundError("no such model"), "completion": None, "route": Route()}
    writer.put(record("4", started=NOON + 90000, asked=["x", "y"], request=prompt, **failed))
    assert flush()
    assert writer.lost == 0

    def invoke(*words, code=0):
        done = CliRunner().invoke(logs, words)
        assert done.exit_code == code, done.output
        return done.stdout if code == 0 else done.output

    return invoke


def test_the_latest_calls_are_listed(run):
    header, *lines = [line.split("\t") for line in run().splitlines()]
    assert header == ["id", "time", "model", "outcome", "tries", "s", "tokens", "cost", "metadata"]
    assert [line[0] for line in lines] == ["c4", "c3", "c2", "c1"]
    assert lines[2][2:] == ["a/m", "ok", "2", "2.20", "10+20", "0.250000 USD", "user=Jürgen"]
    assert lines[0][3:6] == ["ModelNotFoundError", "0", "0.00"]


def test_calls_are_listed_as_json_and_chosen(run):
    assert [row["id"] for row in json.loads(run("list", "--json", "-n", "2"))] == ["c4", "c3"]
    assert [row["id"] for row in json.loads(run("list", "--json", "--failed"))] == ["c4"]
    assert [row["id"] for row in json.loads(run("list", "--json", "--model", "big"))] == ["c3"]
    assert json.loads(run("list", "--json", "--since", "1h")) == []


@pytest.mark.parametrize(
    ("text", "found"), [("grüße", ["c3"]), ("jürgen", ["c2"]), ("anna", ["c1"]), ("no such", ["c4"]), ("%", [])]
)
def test_texts_are_found(run, text, found):
    assert [row["id"] for row in json.loads(run("search", text, "--json"))] == found


def test_a_list_without_a_call_says_so(run):
    assert run("list", "--since", "1h", "--json") == "[]\n"
    for words in (["list", "--since", "1h"], ["search", "%"], ["cost", "--since", "1h"]):
        done = CliRunner().invoke(logs, words)
        assert (done.exit_code, done.stdout) == (0, "")
        assert done.stderr.startswith("The journal has no such call. It records a program only if ")


def test_a_call_is_shown_with_its_attempts_as_bars(run):
    text = run("show", "c2")
    first, second = (line for line in text.splitlines() if re.match(r"\d ", line))
    assert re.search(r"1 a/m +█+[▏▎▍▌▋▊▉█]* +0\.500 s ServerError 503", first)
    assert re.search(r"2 b/m +.*█+ +1\.500 s ok 0\.250000 USD", second)
    assert first.index("█") < second.index("█")
    assert max(map(len, text.splitlines())) <= 80
    assert "0.250000 USD" in text
    assert "user=Jürgen" in text


def test_a_call_is_shown_as_json_and_by_its_name_last(run):
    call = json.loads(run("show", "last", "--json"))
    assert (call["id"], call["error"], call["message"], call["tries"]) == ("c4", "ModelNotFoundError", "no such model", [])
    assert [one["status"] for one in json.loads(run("show", "c2", "--json"))["tries"]] == [503, None]


def test_a_call_that_is_not_there_or_not_named_clearly(run):
    assert "the journal has no call 'zz'" in run("show", "zz", code=1)
    assert "several calls begin with 'c'" in run("show", "c", code=1)


def test_costs_are_added_up_by_day_and_by_a_key_of_the_metadata(run):
    by_day = json.loads(run("cost", "--json"))
    assert [(row["calls"], row["failures"], row["fallbacks"], row["costs"], row["unknown"]) for row in by_day] == [
        (2, 0, 1, {"USD": 0.5}, 0), (2, 1, 0, {}, 1),
    ]  # fmt: skip
    by_user = run("cost", "--by", "user", "--by", "model").splitlines()
    assert "anna\tm\t1\t0\t0\t10+20\t0.250000 USD" in by_user
    assert "-\tbig\t1\t0\t0\t1+2\t1 unknown" in by_user
    assert "no call has 'modle' in its metadata; --by also takes day, provider, model" in run("cost", "--by", "modle", code=1)


def test_calls_are_exported(run, tmp_path):
    assert [json.loads(line)["id"] for line in run("export").splitlines()] == ["c4", "c3", "c2", "c1"]
    run("export", "--format", "csv", "-o", str(tmp_path / "calls.csv"))
    rows = list(csv.DictReader(io.StringIO((tmp_path / "calls.csv").read_text("utf-8"))))
    assert (rows[2]["id"], json.loads(rows[2]["metadata"])) == ("c2", {"user": "Jürgen"})


def test_old_calls_are_removed(run):
    assert json.loads(run("prune", "--keep", "1h", "--json")) == {"removed": 4}
    assert run() == ""
    assert "say how long calls are kept" in run("prune", code=2)


def test_the_report_is_one_page_without_a_network(run, tmp_path):
    pytest.importorskip("pygal", reason="needs pygal: pip install 'providerhub-journal[report]'")
    page = tmp_path / "report.html"
    run("report", "--html", str(page), "--since", "900w")
    text = page.read_text("utf-8")
    assert not re.search(r"<(script|link|img|iframe)\b|@import|url\(", text)
    assert text.count("<svg") == 6
    for part in ("prefers-color-scheme: dark", "0.50 USD", "b/big", "nothing was asked", "<b>4</b><span>calls"):
        assert part in text


def test_without_a_database_the_commands_say_so_and_succeed(tmp_path, monkeypatch):
    settings = tmp_path / "settings.toml"
    settings.write_text(f'[journal]\nurl = "sqlite:///{tmp_path}/none.db"\n')
    monkeypatch.setenv("PROVIDERHUB_CONFIG", str(settings))
    for words in (
        [],
        ["search", "x"],
        ["show", "last"],
        ["cost"],
        ["export"],
        ["prune", "--keep", "1d"],
        ["report", "--html", "x"],
    ):
        done = CliRunner().invoke(logs, words)
        assert (done.exit_code, done.stdout.startswith(f"There is no journal yet at {tmp_path}/none.db")) == (0, True)
    assert not Path("x").exists()
    assert CliRunner().invoke(logs, ["--json"]).stdout == "[]\n"
    assert "logs list --json" in CliRunner().invoke(logs, ["--json", "list"]).stderr
    done = CliRunner().invoke(logs, ["list", "--json"])
    assert (done.exit_code, json.loads(done.stdout)) == (0, [])
    assert not (tmp_path / "none.db").exists()


def test_a_journal_that_cannot_be_opened(tmp_path, monkeypatch):
    settings = tmp_path / "settings.toml"
    (tmp_path / "text.db").write_text("this is not a database, and it is long enough to see that" * 100)
    settings.write_text(f'[journal]\nurl = "sqlite:///{tmp_path}/text.db"\n')
    monkeypatch.setenv("PROVIDERHUB_CONFIG", str(settings))
    done = CliRunner().invoke(logs, [])
    assert done.exit_code == 1
    assert "the journal cannot be opened: DatabaseError: file is not a database" in done.output


@pytest.mark.unix
def test_the_command_line_records_and_shows_its_calls_in_a_terminal(tmp_path):
    environ = {**os.environ, "XDG_DATA_HOME": str(tmp_path), "COLUMNS": "80", "TERM": "xterm"}
    done = pexpect.run(f"{sys.executable} -m providerhub ask -m echo-1 hello", env=environ, encoding="utf-8")
    assert "hello" in done
    shown = pexpect.run(f"{sys.executable} -m providerhub logs", env=environ, encoding="utf-8")
    assert re.search(r"echo/echo-1 +ok", shown)
    assert max(len(re.sub(r"\x1b\[[0-9;]*m", "", line)) for line in shown.splitlines()) <= 80
    assert (tmp_path / "providerhub" / "journal.db").exists()


def test_a_conversation_of_the_journal_goes_on(tmp_path):
    settings = tmp_path / "settings.toml"
    settings.write_text(f'[journal]\ncontent = true\nurl = "sqlite:///{tmp_path}/calls.db"\n')
    environ = {**os.environ, "XDG_DATA_HOME": str(tmp_path), "PROVIDERHUB_CONFIG": str(settings)}

    def ask(*words):
        run = [sys.executable, "-m", "providerhub", "ask", *words]
        done = subprocess.run(run, env=environ, capture_output=True, text=True, check=False)
        return done.stdout.strip() or done.stderr

    def last():
        engine = connect(f"sqlite:///{tmp_path}/calls.db")
        row = next(calls(engine, Filter(), 1))
        engine.dispose()
        return row

    assert ask("-m", "echo-1", "--no-save", "-s", "Be brief.", "one") == "one"
    first = last()
    assert ask("-c", "two") == "two"
    talk = ["Be brief.", "one", "one ", "two"]
    assert ([message["content"] for message in last()["prompt"]], last()["asked"]) == (talk, "echo-1")
    assert ask("--conversation", first["id"], "three") == "three"
    assert [message["content"] for message in last()["prompt"]] == [*talk[:3], "three"]
    settings.write_text(f'[journal]\nurl = "sqlite:///{tmp_path}/calls.db"\n')
    ask("-m", "echo-1", "four")
    assert f"the journal has the call {last()['id']} without its content" in ask("--conversation", last()["id"], "x")
    assert "there is no conversation 'zz'" in ask("--conversation", "zz", "x")
