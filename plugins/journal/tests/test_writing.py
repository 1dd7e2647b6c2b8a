"""The record of a call, and failures of the writing."""

import contextlib
import json
import socketserver
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from providerhub import ConfigurationError, Hub, ProviderHubError, ServerError, Settings
from providerhub_journal import _direct, _worker, _writer, flush
from providerhub_journal._config import Config, default_url
from providerhub_journal._worker import shared
from providerhub_journal._writer import Writer


def test_a_call_is_recorded_with_its_attempts_tokens_cost_and_metadata(make_hub, talker, rows):
    hub = make_hub(a=talker(ServerError("busy", status=503)), b=talker())
    hub.complete(["a/m", "b/m"], "secret words", metadata={"user": "anna"})
    (call,) = rows()
    assert (call["provider"], call["model"], call["outcome"], call["input_tokens"], call["output_tokens"]) == (
        "b",
        "m",
        "ok",
        10,
        20,
    )
    assert (call["cost"], call["currency"], json.loads(call["metadata"])) == (250_000_000, "USD", {"user": "anna"})
    assert call["day"] == time.strftime("%Y-%m-%d", time.gmtime(call["started"]))
    *failed, won = rows("attempts")
    assert {(one["provider"], one["outcome"], one["error"], one["status"]) for one in failed} == {
        ("a", "error", "ServerError", 503)
    }
    assert (won["provider"], won["outcome"], won["call"]) == ("b", "ok", call["id"])


def test_content_is_left_out_unless_the_settings_ask_for_it(make_hub, talker, rows):
    with pytest.raises(ProviderHubError):
        make_hub(a=talker(ServerError("quotes the prompt"))).complete("m", "secret words")
    make_hub(a=talker()).complete("m", "secret words")
    assert not any(
        "secret" in str(value) or "quotes" in str(value) or value == "Hallo" for row in rows() for value in row.values()
    )


def test_content_is_recorded_where_the_settings_ask_for_it(make_hub, talker, rows):
    make_hub(a=talker(), content=True).complete("m", "words \0 \ud800")
    (call,) = rows()
    assert json.loads(call["prompt"])[0]["content"] == "words \N{REPLACEMENT CHARACTER} ?"
    assert call["answer"] == "Hallo"


def test_a_failed_call_and_one_that_was_left_are_recorded(make_hub, talker, rows):
    hub = make_hub(a=talker("a", "b", "c"))
    with hub.complete("m", "x", stream=True) as stream:
        next(iter(stream))
    with pytest.raises(ProviderHubError):
        hub.complete("other", "x")
    left, failed = rows()
    assert (left["outcome"], left["stream"]) == ("abandoned", 1)
    assert (failed["outcome"], failed["error"], failed["attempts"]) == ("error", "ModelNotFoundError", 0)


def test_the_calls_of_a_program_are_not_recorded_unless_the_settings_ask_for_it(make_hub, talker, url):
    make_hub(a=talker(), enabled=False).complete("m", "x")
    assert flush()
    assert not Path(url.removeprefix("sqlite:///")).exists()


def test_the_entry_point_records_the_calls_of_the_command_line(monkeypatch, url):
    monkeypatch.setenv("PROVIDERHUB_PROGRAM", "providerhub")
    with Hub(Settings(journal={"url": url})) as hub, pytest.raises(ProviderHubError):
        hub.complete("no-such-model", "x")
    assert [writer._config.program for writer in _worker._shared.values()] == ["providerhub"]


ASK = """
import sys
from providerhub import Hub, Settings
with Hub(Settings(journal={"url": sys.argv[1]})) as hub:
    try:
        hub.complete("no-such-model", "x", metadata={"user": "anna"})
    except Exception:
        pass
from providerhub_journal import flush
flush()
print("sqlalchemy" in sys.modules)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="another rule")
def test_the_usual_file_is_where_platformdirs_has_it(monkeypatch):
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    usual = default_url()
    monkeypatch.setenv("XDG_DATA_HOME", "")  # the same folder, found by platformdirs
    assert default_url() == usual


def test_the_command_line_needs_sqlalchemy_only_for_a_new_file(monkeypatch, url, rows):
    monkeypatch.setenv("PROVIDERHUB_PROGRAM", "providerhub")
    said = [subprocess.run([sys.executable, "-c", ASK, url], check=True, capture_output=True, text=True).stdout for _ in range(3)]
    assert said == ["True\n", "False\n", "False\n"]
    first, *later = rows()
    assert len(later) == 2
    for row in later:
        assert {type(row[name]) for name in row} == {type(first[name]) for name in row}
        assert (row["error"], row["metadata"], row["program"]) == (first["error"], first["metadata"], "providerhub")


@pytest.mark.parametrize("sql", ["UPDATE providerhub_journal SET value = 2", "DROP TABLE providerhub_attempts"])
def test_a_file_that_cannot_be_written_directly_is_left_to_sqlalchemy(url, make_hub, talker, sql):
    make_hub(a=talker()).complete("m", "x")
    assert flush()
    with contextlib.closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection, connection:
        connection.execute(sql)
    row = {"id": "1", "tries": [{"call": "1", "number": 1}]}
    assert not _direct.insert(url, [row])
    assert not _direct.insert("sqlite:///relative.db", [row])
    assert not _direct.insert(url.replace("calls", "none"), [row])
    assert not _direct.insert("postgresql://host/db", [row])


def redacted(row):
    if row["metadata"] == {"drop": True}:
        return None
    if row["metadata"] == {"raise": True}:
        raise KeyError("x")
    return {**row, "prompt": [{"role": "user", "content": "[redacted]"}]}


def test_a_function_redacts_each_row_and_may_leave_it_out(make_hub, talker, rows, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "redacting", type(sys)("redacting"))
    sys.modules["redacting"].redacted = redacted
    hub = make_hub(a=talker(), content=True, redact="redacting:redacted")
    for metadata in ({"drop": True}, {"raise": True}, {"raise": True}, {}):
        hub.complete("m", "secret", metadata=metadata)
    (call,) = rows()
    assert json.loads(call["prompt"])[0]["content"] == "[redacted]"
    assert [line for line in caplog.messages if "left out" in line] == ["a call cannot be written and is left out: KeyError: 'x'"]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"enable": True}, "unknown key 'journal.enable'; the known ones are enabled, url"),
        ({"url": "calls.db"}, "journal.url must be an SQLAlchemy address, such as sqlite:///"),
        ({"keep": 30}, 'journal.keep must be a length of time such as "30d", "12h" or "2w", not 30'),
        ({"enabled": "yes"}, "journal.enabled must be true or false, not 'yes'"),
        ({"redact": "nowhere:at_all"}, "journal.redact must be an importable 'module:function', not 'nowhere:at_all'"),
        ({"redact": "sys:path"}, "journal.redact must name a function, and 'sys:path' is a list"),
    ],
)
def test_wrong_settings_are_refused_when_the_hub_is_made(table, message):
    with pytest.raises(ConfigurationError, match=message.replace("(", r"\(")):
        Hub(Settings(journal=table))


@pytest.mark.parametrize("value", [object(), float("nan"), {1: 2}])
def test_metadata_that_cannot_be_written_are_left_out_with_one_line(record, url, rows, caplog, value):
    writer = shared(Writer, Config(url))
    for number in range(3):
        writer.put(record(number, metadata={"x": value}))
    assert [row["metadata"] for row in rows()] == [None] * 3
    assert len([line for line in caplog.messages if "the metadata of a call cannot be written" in line]) == 1


def test_a_database_that_is_locked_is_written_later(record, url, rows, caplog, monkeypatch):
    writer = shared(Writer, Config(url))
    writer.put(record(1))
    assert writer.flush()
    monkeypatch.setattr("providerhub_journal._database.BUSY", 0.01)
    writer._engine.dispose()
    writer._engine = None
    monkeypatch.setattr(_worker, "RETRY", 0.01)
    monkeypatch.setattr("providerhub_journal._database.connect.__kwdefaults__", {"busy": 0.01}, raising=False)
    with sqlite3.connect(url.removeprefix("sqlite:///")) as other:
        other.execute("BEGIN IMMEDIATE")
        writer.put(record(2))
        assert writer.flush(20)
    other.close()
    assert len([line for line in caplog.messages if "cannot be written" in line and "locked" in line]) == 1
    assert [row["id"] for row in rows()] == ["c1", "c2"]


@pytest.mark.unix
def test_a_read_only_folder_loses_the_lines_and_counts_them(record, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(_writer, "MOST", 3)
    (tmp_path / "file").write_text("")
    writer = Writer(Config(f"sqlite:///{tmp_path / 'file' / 'calls.db'}"))
    for number in range(10):
        writer.put(record(number))
        writer.flush()
    assert writer.lost == 7
    assert len([line for line in caplog.messages if "calls are not recorded now" in line]) == 1


def test_a_read_only_database_loses_the_lines_with_one_line(record, url, rows, caplog):
    writer = shared(Writer, Config(url))
    writer.put(record(1))
    assert writer.flush()
    reader = Writer(Config(f"{url.replace('///', '///file:')}?mode=ro&uri=true"))
    for number in range(2, 4):
        reader.put(record(number))
        assert reader.flush(20)
    reader.close()
    assert [row["id"] for row in rows()] == ["c1"]
    (line,) = [line for line in caplog.messages if "calls are not recorded now" in line]
    assert "attempt to write a readonly database" in line


@pytest.mark.unix
def test_a_database_that_was_removed_is_made_anew_with_one_line(record, url, rows, caplog):
    writer = shared(Writer, Config(url))
    for number in range(3):
        writer.put(record(number))
        assert writer.flush(20)
        if number == 0:
            for file in Path(url.removeprefix("sqlite:///")).parent.glob("calls.db*"):
                file.unlink()
    assert [row["id"] for row in rows()] == ["c1", "c2"]
    assert len([line for line in caplog.messages if "was removed while it was open; a new one is made" in line]) == 1


def test_lost_lines_are_counted_in_the_database_once_it_works(record, tmp_path, rows, monkeypatch):
    monkeypatch.setattr(_writer, "MOST", 3)
    (tmp_path / "file").write_text("")
    where = f"sqlite:///{tmp_path / 'file' / 'calls.db'}"
    writer = shared(Writer, Config(where))
    for number in range(5):
        writer.put(record(number))
        writer.flush()
    (tmp_path / "file").unlink()
    assert [row["id"] for row in rows(where=where)] == ["c2", "c3", "c4"]
    assert {row["name"]: row["value"] for row in rows("journal", where=where)} == {"version": 1, "lost": 2}


def test_a_database_of_a_later_version_is_not_touched(record, url, rows, caplog):
    writer = shared(Writer, Config(url))
    writer.put(record(1))
    writer.flush()
    with sqlite3.connect(url.removeprefix("sqlite:///")) as other:
        other.execute("update providerhub_journal set value = 2 where name = 'version'")
    other.close()
    later = Writer(Config(url))
    later.put(record(2))
    later.flush()
    later.put(record(3))
    assert later.lost == 2
    assert [row["id"] for row in rows()] == ["c1"]
    assert len([line for line in caplog.messages if "upgrade providerhub-journal" in line]) == 1


def test_an_address_without_its_driver_is_told_once(record, caplog):
    writer = Writer(Config("postgresql+nosuchdriver://anna:secret@localhost/x"))
    writer.put(record(1))
    writer.flush()
    (line,) = caplog.messages
    assert "the journal at postgresql+nosuchdriver://localhost/x cannot be used" in line
    assert "secret" not in line


def test_old_rows_are_removed_and_a_clock_that_was_set_back_loses_none(record, url, rows):
    writer = shared(Writer, Config(url, keep=3600.0))
    now = time.time()
    for number, age in enumerate((7200, 0, -86400, 60)):
        writer.put(record(number, started=now - age))
    assert [row["id"] for row in rows()] == ["c1", "c2", "c3"]
    assert {row["call"] for row in rows("attempts")} == {"c1", "c2", "c3"}


@pytest.mark.unix
def test_the_file_is_for_the_user_alone(make_hub, talker, tmp_path):
    where = tmp_path / "new" / "calls.db"
    make_hub(a=talker(), url=f"sqlite:///{where}").complete("m", "x")
    assert flush()
    assert stat.S_IMODE(where.stat().st_mode) == 0o600
    assert stat.S_IMODE(where.parent.stat().st_mode) == 0o700


def test_a_call_never_waits_for_the_writer(record, url, monkeypatch):
    began, go_on = threading.Event(), threading.Event()
    monkeypatch.setattr(Writer, "_write", lambda self: (began.set(), go_on.wait(), self._rows.clear()))
    monkeypatch.setattr(_writer, "MOST", 100)
    writer = Writer(Config(url))
    writer.put(record(0))
    assert began.wait(60)
    for number in range(1, 151):
        writer.put(record(number))
    assert writer.lost == 50
    go_on.set()
    assert writer.flush(20)


CHILD = """
import sys
from providerhub import Hub, ModelInfo, ProviderInfo, Settings, Usage, UsageDelta

class Talker:
    def stream(self, request, call):
        yield "Hallo"
        yield UsageDelta(Usage(10, 20, cost=0.25))

settings = Settings(journal={"enabled": True, "url": sys.argv[1]})
hub = Hub(settings, providers=[(ProviderInfo(name="a", models=("m",)), Talker())])
"""


def test_the_end_of_the_program_writes_the_last_calls(url, rows):
    subprocess.run([sys.executable, "-c", CHILD + "\nhub.complete('m', 'x')\n", url], check=True)
    assert len(rows()) == 1


@pytest.mark.unix
def test_a_forked_process_writes_its_own_calls(url, rows):
    code = """
hub.complete("m", "x")
import os, warnings
warnings.simplefilter("ignore")
child = os.fork()
hub.complete("m", "x")
import providerhub_journal
assert providerhub_journal.flush()
if child:
    sys.exit(os.waitpid(child, 0)[1])
"""
    subprocess.run([sys.executable, "-c", CHILD + code, url], check=True, timeout=60)
    assert len({row["id"] for row in rows()}) == 3


@pytest.mark.unix
def test_a_fork_waits_for_the_end_of_a_write(url, rows):
    code = """
import os, sys, threading, time, warnings
warnings.simplefilter("ignore")
begun = threading.Event()

class Slow:
    def find_spec(self, name, *_):
        if name == "sqlalchemy.dialects.sqlite.dml":
            begun.set()
            time.sleep(0.3)  # so that the fork comes in the middle

sys.meta_path.insert(0, Slow())
hub.complete("m", "x")
assert begun.wait(60)
child = os.fork()
hub.complete("m", "x")
import providerhub_journal
assert providerhub_journal.flush(60)
if child:
    sys.exit(os.waitpid(child, 0)[1])
"""
    subprocess.run([sys.executable, "-c", CHILD + code, url], check=True, timeout=60)
    assert len({row["id"] for row in rows()}) == 3


@pytest.mark.unix
def test_a_process_of_multiprocessing_writes_its_last_calls(url, rows):
    code = """
import multiprocessing
child = multiprocessing.get_context("fork").Process(target=hub.complete, args=("m", "x"))
child.start()
child.join()
sys.exit(child.exitcode)
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", CHILD + code, url], check=True, timeout=60)
    assert len(rows()) == 1


class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        while data := self.request.recv(100):
            self.request.sendall(data)


@pytest.fixture
def echo():
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@pytest.mark.unix
def test_a_killed_process_loses_the_last_calls_only(url, rows, echo):
    code = f"""
import itertools, socket

connection = socket.create_connection(("127.0.0.1", {echo}))

def stream(self, request, call):
    connection.sendall(b"x")
    yield connection.recv(1).decode()

Talker.stream = stream
for number in itertools.count():
    hub.complete("m", "x", metadata={{"number": str(number)}})
"""

    def written():
        with contextlib.suppress(sqlite3.OperationalError):  # before the tables are there
            return database.execute("select count(*) from providerhub_calls").fetchone()[0]
        return 0

    with (
        contextlib.closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as database,
        subprocess.Popen([sys.executable, "-c", CHILD + code, url]) as process,
    ):
        try:
            while written() < 3000:  # while the program calls: nothing has flushed them
                assert process.poll() is None
                time.sleep(0.05)
        finally:
            process.kill()
        assert process.wait() == -9
        assert database.execute("pragma integrity_check").fetchone() == ("ok",)
    numbers = [int(json.loads(row["metadata"])["number"]) for row in rows()]
    assert sorted(numbers) == list(range(len(numbers)))
    assert len(rows("attempts")) == len(numbers)
    assert Writer.gather < 1  # the README promises that a kill loses one second at most
