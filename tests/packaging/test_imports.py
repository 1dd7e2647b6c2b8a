"""The imports of a usual call and of the command line's help, by name: each further module costs every start."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {
    "aiohttp", "asyncio", "concurrent.futures", "configparser", "ctypes", "dataclasses", "difflib", "hypothesis",
    "importlib_metadata", "keyring", "msgspec", "multiprocessing", "opentelemetry", "pydantic", "requests", "rich",
    "secrets", "sqlalchemy", "sqlite3", "subprocess", "tomlkit", "tomllib", "unittest", "xml",
}  # fmt: skip
"""Modules that are slow to import, and that no usual call needs."""

RARE = {
    "_calling.async_chain", "_calling.executors", "_calling.many", "_calling.many_async", "_calling.many_call",
    "_calling.processes", "_calling.vendor_batches", "_settings.file", "_settings.table", "_values.vendor_batch", "cli",
    "testing",
}  # fmt: skip
"""Our own modules for what few programs do."""

CALL = """
import sys
from providerhub import Hub, ModelInfo, ProviderInfo, Settings
{more}
class Said:
    def stream(self, request, call):
        yield "Hi"

with Hub(Settings(autoload={autoload})) as hub:
    hub.register(ProviderInfo(name="said", models=(ModelInfo("m"),)), Said())
    assert str(hub.complete("m", "Hello")) == "Hi"
    assert "".join(hub.complete("m", "Hello", stream=True)) == "Hi"
print(*sys.modules)
"""
LIGHT = """
import sys
import providerhub
from importlib import import_module
from providerhub._finding.installed import offered
providerhub.complete
for entry in offered("providerhub", print):
    if entry.group in {"providerhub", "providerhub.hooks"}:
        before = set(sys.modules)
        import_module(entry.value.partition(":")[0])
        print(entry.value, *(set(sys.modules) - before))
"""
HELP = """
import sys
from providerhub.cli import main
sys.argv = ["providerhub", "--help"]
try:
    main()
except SystemExit:
    print(*sys.modules)
"""


def imported(code: str) -> set[str]:
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.load
@pytest.mark.parametrize("more", ["", "import providerhub.openai_provider"], ids=["core", "toolkit"])
def test_a_usual_call_imports_nothing_that_few_programs_need(more):
    found = imported(CALL.format(more=more, autoload=False))
    assert sorted(found & HEAVY) == []
    assert sorted(found & {f"providerhub.{name}" for name in RARE}) == []


@pytest.mark.load
def test_a_call_imports_the_light_modules_alone_of_the_plugins_that_do_not_serve_it():
    found = imported(CALL.format(more="", autoload=True))
    assert sorted(found & (HEAVY | {"logging", "pathlib"})) == []
    ours = {name for name in found if name.startswith("providerhub_")}
    heavy = (".provider", "_provider", "._cache", "._config", "._database", "._telemetry", "._worker", "._writer")
    assert {"providerhub_cache", "providerhub_journal", "providerhub_openai", "providerhub_otel"} <= ours
    assert not [name for name in ours if name.endswith(heavy)]


def test_a_light_module_imports_little_of_its_own_and_nothing_else():
    done = subprocess.run([sys.executable, "-c", LIGHT], check=True, capture_output=True, text=True, timeout=60)
    rows = [row.split() for row in done.stdout.splitlines()]
    assert len(rows) > 50
    for value, *modules in rows:
        assert {name.partition(".")[0] for name in modules} <= {value.partition(":")[0].partition(".")[0]}, value
        assert len(modules) <= 3, value


@pytest.mark.load
def test_the_help_imports_neither_the_core_nor_attrs():
    found = imported(HELP)
    assert {name for name in found if name.startswith("providerhub")} == {
        "providerhub", "providerhub._version", "providerhub._finding", "providerhub._finding.installed", "providerhub.cli",
        "providerhub.cli._app", "providerhub.cli._main",
    }  # fmt: skip
    assert not found & (HEAVY | {"attr", "attrs", "pluggy", "urllib3", "http", "json", "logging"})


def test_a_module_of_values_is_imported_when_its_name_is_used():
    code = "import providerhub; providerhub.ModelInfo; {}; import sys; print(*sys.modules)"
    assert "providerhub._values.vendor_batch" not in imported(code.format("pass"))
    assert "providerhub._values.vendor_batch" in imported(code.format("providerhub.VendorBatch"))
