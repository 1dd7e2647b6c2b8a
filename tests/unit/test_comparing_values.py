"""Comparison and representation of values, written once for all classes."""

import copy
import pickle

import attrs
import pytest

from providerhub import (
    Attempt,
    Candidate,
    Completion,
    Finish,
    ModelInfo,
    ProviderConfig,
    Restarted,
    Route,
    Settings,
    Skip,
    TextDelta,
    Timeout,
    Usage,
)
from providerhub._rules.orders import PULL, Done, Drain


def test_values_of_one_class_with_equal_fields_are_equal_and_serve_as_keys():
    one, same = Candidate("echo", "tiny", "tiny"), Candidate("echo", "tiny", "tiny")
    assert one == same
    assert hash(one) == hash(same)
    assert {one: "kept"}[same] == "kept"
    assert one != attrs.evolve(one, model="large")


def test_equal_fields_in_another_class_are_not_equal():
    assert TextDelta("yes") != "yes"
    assert Usage(1) != Timeout(connect=1)
    assert Drain() != Done()
    assert Drain() == Drain()


def test_what_is_left_out_of_the_comparison_is_left_out_of_the_display():
    told = Settings(origins={"hedge": "settings.toml:3"})
    assert told == Settings()
    assert "origins" not in repr(told)


class Odd:
    """It cannot be compared, like an array of numpy."""

    def __eq__(self, other):
        raise ValueError("ambiguous")

    __hash__ = None


def test_a_value_shows_no_empty_defaults():
    assert repr(Timeout(total=3)).startswith("Timeout(connect=")
    assert repr(Finish()) == "Finish(reason='stop')"
    assert repr(Completion("x", usage=Usage(1, 0))) == "Completion(text='x', usage=Usage(input_tokens=1, output_tokens=0))"
    assert "parsed=<" in repr(Completion(parsed=Odd()))
    assert repr(ModelInfo("m", supports_tools=False)) == "ModelInfo(name='m', supports_tools=False, price_currency='USD')"
    assert repr(Skip("acme", "", "blocked")) == "Skip(provider='acme', model='', reason='blocked')"
    assert repr(Drain()) == "Drain()"


def test_a_value_that_holds_itself_can_be_shown():
    error = ValueError()
    piece = Restarted("acme", "tiny", continued=False, error=error)
    error.args = (piece,)
    assert repr(piece) == "Restarted(provider='acme', model='tiny', continued=False, error=ValueError(...))"


def test_values_that_cannot_be_keys_say_so():
    with pytest.raises(TypeError, match="unhashable"):
        hash(ProviderConfig(options={"region": "eu"}))


@pytest.mark.parametrize("value", [PULL, Route((Attempt(1, "acme", "tiny"),)), ProviderConfig(api_key="canary")])
def test_copies_are_equal(value):
    assert pickle.loads(pickle.dumps(value)) == copy.deepcopy(value) == value


def test_values_cannot_be_changed():
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        Usage().input_tokens = 3
    with pytest.raises(AttributeError):
        Usage().unknown = 3
