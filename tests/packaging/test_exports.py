"""`providerhub.__all__` says what the package offers, and the package offers what it says."""

from __future__ import annotations

import types

import pytest

import providerhub


def test_all_has_no_duplicates() -> None:
    assert len(providerhub.__all__) == len(set(providerhub.__all__))


def test_all_lists_every_public_name_and_no_other() -> None:
    """Submodules become attributes once somebody has imported them; they are not exports unless listed."""
    present = {
        name
        for name, value in vars(providerhub).items()
        if not name.startswith("_") and not (isinstance(value, types.ModuleType) and name not in providerhub.__all__)
    }
    assert present == {name for name in providerhub.__all__ if not name.startswith("_")}


def test_everything_listed_can_be_had() -> None:
    namespace: dict[str, object] = {}
    exec("from providerhub import *", namespace)
    assert set(providerhub.__all__) <= set(namespace)


@pytest.mark.parametrize("name", sorted(providerhub.__all__))
def test_an_export_is_documented(name: str) -> None:
    value = getattr(providerhub, name)
    if isinstance(value, type) or callable(value):
        assert (value.__doc__ or "").strip(), f"{name} has no docstring"
