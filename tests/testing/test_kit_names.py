"""The names of `providerhub.testing` that the distribution `providerhub-conformance` brings."""

from __future__ import annotations

import subprocess
import sys

import pytest

import providerhub.testing
import providerhub_conformance

OWN = {"FakeAsyncProvider", "FakeCall", "FakeClock", "FakeProvider", "Gate", "Hold", "Mark", "Pause", "Peer", "fake_hub"}


def _run(code, *, kit=True):
    block = "" if kit else "import sys; sys.modules['providerhub_conformance'] = None\n"
    done = subprocess.run([sys.executable, "-c", block + code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_all_names_of_the_kit_are_there_and_are_the_same_objects():
    assert set(providerhub.testing.__all__) == OWN | set(providerhub_conformance.__all__)
    for name in providerhub_conformance.__all__:
        assert getattr(providerhub.testing, name) is getattr(providerhub_conformance, name)
    assert set(providerhub.testing.__all__) <= set(dir(providerhub.testing))


def test_the_kit_is_imported_when_one_of_its_names_is_used():
    code = "import sys, providerhub.testing as t; {}; print('providerhub_conformance' in sys.modules)"
    assert _run(code.format("t.fake_hub")) == "False\n"
    assert _run(code.format("t.FaultServer")) == "True\n"


def test_without_the_kit_its_names_say_what_to_install():
    code = """
from providerhub.testing import FakeProvider
try:
    from providerhub.testing import FaultServer
except ImportError as error:
    print(error)
"""
    expected = "FaultServer is in the distribution providerhub-conformance: pip install providerhub-conformance\n"
    assert _run(code, kit=False).endswith(expected)


def test_a_star_import_works_without_the_kit():
    code = "from providerhub.testing import *; print(FakeProvider.__name__, 'FaultServer' in dir())"
    assert _run(code, kit=False) == "FakeProvider False\n"


def test_an_error_inside_the_kit_is_not_hidden():
    code = """
import sys
sys.modules["providerhub_conformance._kit.wire"] = None
try:
    from providerhub.testing import FaultServer
except ImportError as error:
    print(error.name)
"""
    assert _run(code) == "providerhub_conformance._kit.wire\n"


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match=r"module 'providerhub\.testing' has no attribute 'FaultServr'"):
        providerhub.testing.FaultServr  # noqa: B018 -- the access is the test
