"""`providerhub.__all__` names exactly the public names of the package."""

from __future__ import annotations

import subprocess
import sys
import types

import pytest

import providerhub
from providerhub._exports import HINTS


def test_all_has_no_duplicates() -> None:
    assert len(providerhub.__all__) == len(set(providerhub.__all__))


def test_all_lists_every_public_name_and_no_other() -> None:
    """Submodules become attributes when they are imported; only those in `__all__` are exports."""
    assert set(providerhub.__all__) <= set(dir(providerhub))
    assert all(hasattr(providerhub, name) for name in providerhub.__all__)  # this imports the lazy names
    present = {
        name
        for name, value in vars(providerhub).items()
        if not name.startswith("_")
        and name not in HINTS
        and not (isinstance(value, types.ModuleType) and name not in providerhub.__all__)
    }
    assert present == {name for name in providerhub.__all__ if not name.startswith("_")}


def test_every_listed_name_can_be_imported() -> None:
    namespace: dict[str, object] = {}
    exec("from providerhub import *", namespace)
    assert set(providerhub.__all__) <= set(namespace)


def test_the_core_is_imported_when_it_is_asked_for_and_not_before() -> None:
    """The command line's help and completion live in the same package and must not wait for it."""
    code = "import sys, providerhub; assert 'providerhub._hub' not in sys.modules; providerhub.Hub; providerhub.complete"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.parametrize("name", ["nothing", "__nothing__"])
def test_what_is_not_there_is_an_attribute_error_as_for_any_module(name: str) -> None:
    with pytest.raises(AttributeError, match=f"module 'providerhub' has no attribute '{name}'"):
        getattr(providerhub, name)


@pytest.mark.parametrize("name", sorted(providerhub.__all__))
def test_an_export_is_documented(name: str) -> None:
    value = getattr(providerhub, name)
    if isinstance(value, type) or callable(value):
        assert (value.__doc__ or "").strip(), f"{name} has no docstring"
