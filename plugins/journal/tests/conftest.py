import logging
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
import sqlalchemy as sa

from providerhub import (
    Attempt,
    CallRecord,
    Completion,
    Hub,
    ModelInfo,
    ProviderInfo,
    Request,
    RetryPolicy,
    Route,
    Settings,
    Usage,
    UsageDelta,
)
from providerhub_journal import _worker, flush


class Talker:
    def __init__(self, *script):
        self.script = list(script) or ["Hallo", UsageDelta(Usage(10, 20, cost=0.25))]

    def stream(self, request, call):
        for piece in self.script:
            if isinstance(piece, Exception):
                raise piece
            yield piece


@pytest.fixture
def talker():
    return Talker


@pytest.fixture(autouse=True)
def _own_workers(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setattr(_worker, "_shared", {})
    made = []
    monkeypatch.setattr(_worker.Worker, "_begin", lambda self, begin=_worker.Worker._begin: (made.append(self), begin(self)))
    logging.getLogger("providerhub.journal").setLevel(logging.NOTSET)
    yield
    for worker in made:
        worker.close()


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'calls.db'}"


@pytest.fixture
def make_hub(url):
    """`make_hub(a=provider, keep="1d")`: each provider serves `m`; texts and flags are keys of `[journal]`."""
    hubs = []

    def make(settings=None, **given):
        providers = {name: item for name, item in given.items() if hasattr(item, "stream")}
        table = {"enabled": True, "url": url, **{name: item for name, item in given.items() if name not in providers}}
        chosen = Settings(journal=table, retry=RetryPolicy(backoff=0, throttle_backoff=0), **(settings or {}))
        pairs = [(ProviderInfo(name=name, models=(ModelInfo("m"),)), item) for name, item in providers.items()]
        hubs.append(Hub(chosen, providers=pairs))
        return hubs[-1]

    yield make
    for hub in hubs:
        hub.close()
    flush()


@pytest.fixture
def rows(url):
    """`rows("calls")`: the rows of a table, once all calls are written."""

    def read(table="calls", where=None):
        assert flush()
        engine = sa.create_engine(where or url)
        with engine.connect() as connection:
            found = connection.execute(sa.text(f"select * from providerhub_{table}")).mappings().all()
        engine.dispose()
        return found

    return read


@pytest.fixture
def record():
    def make(number=1, **given):
        attempt = Attempt(1, "a", "m", outcome="ok", usage=Usage(10, 20, cost=0.25))
        answer = Completion(text="Hallo", provider="a", model="m", usage=Usage(10, 20, cost=0.25))
        request = Request("m", [{"role": "user", "content": "x"}])
        plain = {
            "route": Route((attempt,), duration=0.5),
            "asked": "m",
            "request": request,
            "started": time.time(),
            "timeout": 60.0,
            "completion": answer,
        }
        return CallRecord(id=f"c{number}", **{**plain, **given})

    return make


@pytest.fixture(scope="session")
def postgresql(tmp_path_factory):
    """The address of a database of a real PostgreSQL server, which listens on a socket in a folder of the tests only."""
    pytest.importorskip("psycopg", reason="needs psycopg: pip install 'providerhub-journal[postgresql]'")
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    found = str(places[-1]) if places else shutil.which("initdb")
    if found is None:
        pytest.skip("needs a PostgreSQL server: apt install postgresql")
    user = {"user": "postgres"} if os.geteuid() == 0 else {}  # PostgreSQL refuses to run as root
    folder = Path(tempfile.mkdtemp(prefix="pg"))  # a short name: the path of a socket has a limit
    if user:
        shutil.chown(folder, "postgres")
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": folder, **user}
    control = [str(Path(found).with_name("pg_ctl")), "-D", str(folder / "data"), "-w"]
    subprocess.run([found, "-D", str(folder / "data"), "-A", "trust", "-U", "postgres", "-E", "UTF8"], check=True, **quiet)
    subprocess.run(
        [*control, "-l", str(folder / "log"), "-o", f"-c listen_addresses='' -k {folder}", "start"], check=True, **quiet
    )
    try:
        yield f"postgresql+psycopg://postgres@/postgres?host={folder}"
    finally:
        subprocess.run([*control, "-m", "immediate", "stop"], check=True, **quiet)
        shutil.rmtree(folder)
