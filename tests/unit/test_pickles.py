"""Pickles name public classes, and those of earlier versions can be read: see `pickles/make.py`."""

from __future__ import annotations

import copy
import pickle
import runpy
import subprocess
import sys
from pathlib import Path

import attrs
import pytest

import providerhub
from providerhub import Finish, ProviderHubError, Request, Secret, ServerError, Settings, Timeout
from providerhub._rules.orders import PULL
from providerhub._settings.refined import given
from providerhub._values.value import Value

FOLDER = Path(__file__).with_name("pickles")
OBJECTS = runpy.run_path(str(FOLDER / "make.py"))["OBJECTS"]


def _described(value):
    """A value as plain data: errors compare by identity, and secrets hide themselves."""
    if isinstance(value, Value):
        return type(value).__name__, {name: _described(getattr(value, name)) for name in attrs.fields_dict(type(value))}
    if isinstance(value, BaseException):
        return type(value).__name__, value.args, {name: _described(item) for name, item in vars(value).items()}
    if isinstance(value, Secret):
        return "Secret", value.source or value.reveal()
    if isinstance(value, dict):
        return {name: _described(item) for name, item in value.items()}
    return [_described(item) for item in value] if isinstance(value, tuple | list) else value


def test_there_is_a_pickle_of_every_public_value_class_and_error():
    public = [getattr(providerhub, name) for name in providerhub.__all__]
    classes = {cls.__name__ for cls in public if isinstance(cls, type) and issubclass(cls, Value | ProviderHubError)}
    assert classes | {"Secret"} == OBJECTS.keys() == {path.stem for path in FOLDER.glob("*.pickle")}


@pytest.mark.parametrize("name", OBJECTS)
def test_a_pickle_of_an_earlier_version_is_read(name):
    again = pickle.loads((FOLDER / f"{name}.pickle").read_bytes())
    assert type(again) is getattr(providerhub, name)
    assert _described(again) == _described(OBJECTS[name])


@pytest.mark.parametrize("name", OBJECTS)
def test_every_protocol_and_every_copy_keeps_all_fields(name):
    value = OBJECTS[name]
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        assert _described(pickle.loads(pickle.dumps(value, protocol))) == _described(value), protocol
    assert _described(copy.copy(value)) == _described(copy.deepcopy(value)) == _described(value)


@pytest.mark.parametrize("name", [name for name, value in OBJECTS.items() if isinstance(value, Value)])
def test_a_field_that_is_added_later_has_its_default_in_an_older_pickle(name):
    value = OBJECTS[name]
    for field in attrs.fields(type(value)):
        if field.default is attrs.NOTHING:
            continue
        state = value.__getstate__()
        state.pop(field.name, None)  # the state of a `Timeout` has only the given phases
        old = object.__new__(type(value))
        old.__setstate__(state)
        default = field.default.factory() if isinstance(field.default, attrs.Factory) else field.default
        assert getattr(old, field.name) == default, field.name
        assert {n: getattr(old, n) for n in state} == state, field.name


@pytest.mark.parametrize("name", [name for name, value in OBJECTS.items() if isinstance(value, Exception)])
def test_an_attribute_that_is_added_later_has_its_default_in_an_older_error(name):
    for attribute in vars(OBJECTS[name]):
        error = copy.copy(OBJECTS[name])
        delattr(error, attribute)
        again = pickle.loads(pickle.dumps(error))
        assert getattr(again, attribute) == getattr(type(error)("what happened"), attribute), attribute
        kept = {name: item for name, item in vars(again).items() if name != attribute}
        assert _described(kept) == _described(vars(error)), attribute


def test_a_pickle_of_a_later_version_may_have_more_fields():
    old = object.__new__(Finish)
    old.__setstate__({"reason": "length", "of_a_later_version": 1})
    assert old == Finish("length")


def test_a_required_field_that_is_missing_is_named():
    with pytest.raises(TypeError, match="the pickle lacks the field 'messages', which has no default"):
        object.__new__(Request).__setstate__({"model": "m"})


def test_the_environment_outranks_the_defaults_of_settings_from_a_pickle():
    environ = {"PROVIDERHUB_TIMEOUT": "7", "PROVIDERHUB_STRATEGY": "fastest"}
    again = pickle.loads(pickle.dumps(Settings())).with_environment(environ)
    assert (again.timeout, again.strategy) == (Timeout(total=7), "fastest")
    again = pickle.loads(pickle.dumps(Settings(timeout=Timeout(), strategy="priority"))).with_environment(environ)
    assert (again.timeout, again.strategy) == (Timeout(), "priority")


@pytest.mark.parametrize("again", [lambda value: pickle.loads(pickle.dumps(value)), copy.copy, copy.deepcopy])
def test_a_timeout_from_a_pickle_still_tells_what_was_given_from_the_defaults(again):
    assert given(again(Timeout())) == {}
    assert given(again(Timeout(connect=float("5"), first_token=3))) == {"connect": 5.0, "first_token": 3}
    assert again(Timeout(first_token=3)) == Timeout(first_token=3)


def test_a_value_without_fields_pickles():
    assert pickle.loads(pickle.dumps(PULL)) == PULL


PRIVATELY = (
    "from providerhub._values.errors import ServerError; import pickle, sys; assert 'providerhub._exports' not in sys.modules\n"
)
PUBLICLY = "from providerhub import ServerError; import pickle, sys\n"
WRITE = "sys.stdout.buffer.write(pickle.dumps(ServerError('down', status=503)))"
READ = "error = pickle.load(sys.stdin.buffer); assert (type(error), error.status) == (ServerError, 503)"


@pytest.mark.parametrize(("writer", "reader"), [(PRIVATELY, PUBLICLY), (PUBLICLY, PRIVATELY), (PRIVATELY, PRIVATELY)])
def test_a_pickle_does_not_depend_on_the_imports_of_its_process(writer, reader):
    written = subprocess.run([sys.executable, "-c", writer + WRITE], check=True, capture_output=True, timeout=60).stdout
    assert b"providerhub._" not in written
    assert written == pickle.dumps(ServerError("down", status=503))
    subprocess.run([sys.executable, "-c", reader + READ], check=True, input=written, timeout=60)
