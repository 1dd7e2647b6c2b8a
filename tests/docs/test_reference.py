"""The reference is complete: public names with their first version, hooks, modules, pictures."""

from __future__ import annotations

import importlib
import inspect
import re
import subprocess
import sys
import tomllib

import pytest

import providerhub

pytestmark = pytest.mark.once

MODULES = (
    "providerhub",
    "providerhub.testing",
    "providerhub.wire",
    "providerhub.http",
    "providerhub.wire_provider",
    "providerhub.openai_provider",
)


def _public(module):
    """The public names of a module: its `__all__`, else the classes and functions that it defines."""
    if hasattr(module, "__all__"):
        return set(module.__all__)
    made = {name for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__}
    return {name for name in made if not name.startswith("_") and callable(getattr(module, name))}


@pytest.fixture
def since(root):
    return tomllib.loads((root / "docs" / "reference" / "since.toml").read_text("utf-8"))


@pytest.mark.parametrize("name", MODULES)
def test_every_public_name_says_since_when_it_exists(name, since):
    now = _public(importlib.import_module(name))
    assert (now - set(since[name]), set(since[name]) - now) == (set(), set()), (
        "to add to, and to take out of, docs/reference/since.toml"
    )


def test_no_name_is_from_the_future(since):
    now = [int(part) for part in re.findall(r"\d+", providerhub.__version__)[:2]]
    for module, names in since.items():
        for name, version in names.items():
            assert [int(part) for part in version.split(".")] <= now, f"{module}.{name}"


def test_every_public_name_has_its_place_in_the_reference(since, root):
    pages = "".join(page.read_text("utf-8") for page in (root / "docs" / "reference").glob("*.md"))
    shown = set(re.findall(r"^\.\. (?:auto|py:)\w+:: (\S+)", pages, re.MULTILINE))
    shown |= set(re.findall(r"^<!-- generated: data (\S+) -->$", pages, re.MULTILINE))
    for module, chosen in re.findall(r"^<!-- generated: names (\S+)((?: \S+)*) -->$", pages, re.MULTILINE):
        shown |= {f"{module}.{name}" for name in chosen.split() or since[module]}
    wanted = {f"{module}.{name}" for module, names in since.items() for name in names if module != "providerhub.hookspecs"}
    assert wanted - shown == {"providerhub.__version__"}
    assert {name for name in shown if name.rpartition(".")[0] in since} <= wanted


def test_the_pages_show_every_hook(since):
    from providerhub import hookspecs

    hooks = {name for name, value in inspect.getmembers(hookspecs, inspect.isfunction) if hasattr(value, "providerhub_spec")}
    assert set(since["providerhub.hookspecs"]) == hooks | {"hookimpl"}


def test_the_map_of_the_code_names_every_module_and_no_other(root):
    text = (root / "ARCHITECTURE.md").read_text("utf-8")
    named = set(re.findall(r"`(providerhub/[\w/]+(?:\.py|/))`", text))
    there = {path.relative_to(root).as_posix() for path in (root / "providerhub").glob("*.py")}
    folders = {f"providerhub/{path.name}/" for path in (root / "providerhub").iterdir() if (path / "__init__.py").exists()}
    assert there | folders <= named
    assert not [name for name in named if not (root / name).exists()]


def test_the_pictures_match_their_texts(root):
    command = [sys.executable, str(root / "tools" / "draw_pictures.py"), "--check"]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
