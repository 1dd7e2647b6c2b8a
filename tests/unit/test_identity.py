"""Public classes and functions name the module from which users import them."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
import typing

import attrs
import pytest

MODULES = [importlib.import_module(name) for name in ("providerhub", "providerhub.http", "providerhub.wire")]
NAMES = [(module.__name__, name, getattr(module, name)) for module in MODULES for name in module.__all__]
PUBLIC = {(module, name): value for module, name, value in NAMES if inspect.isclass(value) or inspect.isfunction(value)}


@pytest.mark.parametrize(("module", "name"), PUBLIC)
def test_a_public_name_names_its_public_module(module, name):
    value = PUBLIC[module, name]
    assert value.__module__ == module
    assert value.__name__ == name
    assert not inspect.isclass(value) or repr(value) == f"<class '{module}.{name}'>"


@pytest.mark.parametrize(("module", "name"), [key for key, value in PUBLIC.items() if inspect.isclass(value)])
def test_annotations_of_public_classes_can_be_resolved(module, name):
    cls = PUBLIC[module, name]
    hints = typing.get_type_hints(cls)
    if attrs.has(cls):
        attrs.resolve_types(cls)
        assert {field.name: field.type for field in attrs.fields(cls)}.items() <= hints.items()


def test_a_traceback_shows_the_public_name():
    code = "from providerhub._values.errors import ServerError; raise ServerError('down')"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False).stderr
    assert shown.splitlines()[-1] == "providerhub.ServerError: down"
