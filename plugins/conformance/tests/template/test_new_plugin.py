"""`providerhub new-plugin`: the written files, and the refused arguments."""

from __future__ import annotations

import json
import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from click.testing import CliRunner

from providerhub.cli._app import app
from providerhub_conformance._commands.new_plugin import LICENSES, normalised

CHECKOUT = Path(__file__).resolve().parents[4]
WIRES = ("openai", "sse", "ndjson", "custom")


@pytest.fixture
def new_plugin(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(app, ["new-plugin", *words], prog_name="providerhub")


def test_it_says_which_pip_knows_groups(new_plugin, tmp_path):
    """The one that comes with Python 3.11 does not."""
    assert "Try it, with pip 25.1 or later:" in new_plugin("acme").output
    assert '"pip>=25.1"' in (tmp_path / "providerhub-acme" / "README.md").read_text("utf-8")


def test_what_was_written_as_json(new_plugin, tmp_path):
    written = json.loads(new_plugin("Acme", "--json").output)
    assert (written["provider"], written["folder"]) == ("acme", "providerhub-acme")
    assert all((tmp_path / written["folder"] / name).is_file() for name in written["files"])
    assert "exists already" in json.loads(new_plugin("Acme", "--json").stdout)["error"]["message"]


def test_a_plugin_with_hooks_has_no_service(new_plugin, tmp_path):
    result = new_plugin("acme", "--wire", "hooks")
    assert result.output.splitlines()[0].startswith("providerhub-acme: a plugin with hooks.")
    root = tmp_path / "providerhub-acme"
    files = {file.relative_to(root).as_posix(): file.read_text("utf-8") for file in root.rglob("*") if file.is_file()}
    assert set(files) == {
        ".github/workflows/ci.yml", ".github/workflows/release.yml", ".gitignore", "CHANGELOG.md", "LICENSE", "README.md",
        "pyproject.toml", "src/providerhub_acme/__init__.py", "src/providerhub_acme/py.typed", "tests/test_hooks.py",
    }  # fmt: skip
    points = tomllib.loads(files["pyproject.toml"])["project"]["entry-points"]
    assert points == {"providerhub.hooks": {"acme": "providerhub_acme"}}
    assert not any("conformance" in text or "{{" in text.replace("${{", "") for text in files.values())


@pytest.mark.parametrize("wire", WIRES)
def test_the_files(new_plugin, tmp_path, wire):
    result = new_plugin("acme", "--wire", wire)
    assert result.exit_code == 0, result.output
    root = tmp_path / "providerhub-acme"
    assert {file.relative_to(root).as_posix() for file in root.rglob("*") if file.is_file()} == {
        ".github/workflows/ci.yml",
        ".github/workflows/release.yml",
        ".gitignore",
        "CHANGELOG.md",
        "LICENSE",
        "README.md",
        "pyproject.toml",
        "src/providerhub_acme/__init__.py",
        "src/providerhub_acme/conformance.py",
        *(["src/providerhub_acme/framing.py"] if wire == "custom" else []),
        "src/providerhub_acme/provider.py",
        "src/providerhub_acme/py.typed",
        "tests/test_conformance.py",
        "tests/test_provider.py",
    }
    for file in root.rglob("*"):
        text = file.read_text("utf-8") if file.is_file() else ""
        assert "{{" not in text.replace("${{", ""), file
        assert "_package_" not in text, file
        assert "\r" not in text, file


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("acme", "acme"),
        ("Acme_AI", "acme-ai"),
        ("a..b", "a-b"),
        ("providerhub-acme", "acme"),
        ("ProviderHub_X", "x"),
        ("3m", "3m"),
    ],
)
def test_names_are_written_as_an_index_would(typed, name):
    assert normalised(typed) == name


@pytest.mark.parametrize("typed", ["", "-acme", "acme-", "ac me", "acme/x", "../acme", "ácme", "providerhub", "x" * 51, "a\n"])
def test_names_that_no_distribution_may_have(new_plugin, tmp_path, typed):
    result = new_plugin("--", typed)
    assert result.exit_code == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("license_name", LICENSES)
def test_the_licence_is_stated_and_there(new_plugin, tmp_path, license_name):
    who = 'Jo "the \\ author" Doe'
    assert new_plugin("acme", "--license", license_name, "--author", who, "--directory", "here").exit_code == 0
    table = tomllib.loads((tmp_path / "here" / "pyproject.toml").read_text("utf-8"))["project"]
    assert table["authors"] == [{"name": who}]
    assert table.get("license") == (None if license_name == "none" else license_name)
    assert (tmp_path / "here" / "LICENSE").exists() == (license_name != "none")


def test_it_requires_this_core_and_announces_its_suite(new_plugin, tmp_path):
    new_plugin("Acme_AI")
    table = tomllib.loads((tmp_path / "providerhub-acme-ai" / "pyproject.toml").read_text("utf-8"))["project"]
    assert table["dependencies"] == [f"providerhub[async]>={metadata.version('providerhub')}"]
    assert table["entry-points"] == {
        "providerhub": {"acme-ai": "providerhub_acme_ai"},
        "providerhub.conformance": {"acme-ai": "providerhub_acme_ai.conformance:AcmeAiConformance"},
    }


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_what_exists_is_not_touched(new_plugin, tmp_path, kind):
    place = tmp_path / "providerhub-acme"
    if kind == "folder":
        place.mkdir()
    else:
        place.write_text("mine", "utf-8")
    result = new_plugin("acme")
    assert result.exit_code == 1
    assert "exists already" in result.stderr
    assert place.read_text("utf-8") == "mine" if kind == "file" else list(Path(place).iterdir()) == []


def test_its_workflows_pin_the_actions_that_this_project_pins(new_plugin, tmp_path):
    new_plugin("acme")
    pins = {
        name: set(re.findall(r"uses: (\S+@\S+ # v\S+)", "".join(file.read_text("utf-8") for file in folder.glob("*.yml"))))
        for name, folder in (("own", CHECKOUT / ".github"), ("new", tmp_path / "providerhub-acme" / ".github"))
        for folder in (folder / "workflows",)
    }
    assert pins["new"]
    assert pins["new"] <= pins["own"]
    for file in (tmp_path / "providerhub-acme" / ".github" / "workflows").iterdir():
        assert len(re.findall("uses: ", file.read_text("utf-8"))) == len(
            re.findall("uses: .*@[0-9a-f]{40} # v", file.read_text("utf-8"))
        )
