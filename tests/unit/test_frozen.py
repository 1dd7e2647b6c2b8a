"""A value class is whole as soon as any of its parts is used for the first time."""

from __future__ import annotations

import copy
import inspect
import sys
import threading
import weakref
from functools import partial
from typing import Any, ClassVar

import attrs
import pytest

import providerhub
from providerhub._values.checks import NUMBER
from providerhub._values.value import Value, frozen


def fresh() -> Any:
    @frozen(eq=False, repr=False)
    class Point(Value):
        """A point."""

        kind: ClassVar[str] = "point"
        x: float
        y: float = attrs.field(default=0, kw_only=True, validator=NUMBER)

    return Point


def every_value_class() -> list[Any]:
    public = (getattr(providerhub, name) for name in providerhub.__all__)
    return [one for one in public if isinstance(one, type) and issubclass(one, Value)]


USES = {
    "an object": lambda cls: cls(1),
    "its fields": lambda cls: attrs.fields(cls).x,
    "its signature": lambda cls: inspect.signature(cls).parameters["y"],
    "a pattern": lambda cls: cls.__match_args__,
    "a pickle": lambda cls: cls.__new__(cls).__setstate__({"x": 1}),
    "a subclass of attrs": lambda cls: attrs.frozen(type("Sub", (cls,), {"__annotations__": {"z": int}, "z": 3}))(1),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_attrs_makes_the_class_when_it_is_first_used(use, monkeypatch):
    made = []
    real = attrs.frozen
    monkeypatch.setattr(attrs, "frozen", lambda *args, **how: made.append(how) or real(*args, **how))
    point = fresh()
    assert made == []
    use(point)
    assert made.count({"eq": False, "repr": False}) == 1
    one = point(1, y=2)
    assert (one.x, one.y, one.kind) == (1, 2, "point")
    assert (one, repr(one).rpartition(".")[2]) == (point(1.0, y=2.0), "Point(x=1, y=2)")
    assert made.count({"eq": False, "repr": False}) == 1


def test_the_class_is_one_of_attrs():
    point = fresh()
    one = point(1)
    assert attrs.has(point)
    assert attrs.asdict(one) == {"x": 1, "y": 0}
    assert attrs.evolve(one, y=5).y == 5
    assert copy.copy(one) == one
    assert weakref.ref(one)() is one
    assert point.__doc__ == "A point."
    assert not hasattr(one, "__dict__")
    with pytest.raises(ValueError, match="y must be a finite number"):
        point(1, y="far")
    for change in (lambda: setattr(one, "x", 2), lambda: delattr(one, "x"), lambda: setattr(one, "new", 2)):
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            change()


@pytest.mark.parametrize("cls", sorted(every_value_class(), key=str))
def test_a_misspelt_keyword_of_every_class_names_the_nearest(cls):
    field = attrs.fields(cls)[0].name
    if cls.__name__ in {"Attempt", "Completion", "Request", "Route"}:  # made in each call, and a hint would take time
        with pytest.raises(TypeError, match=f"'{field}x'"):
            cls(**{f"{field}x": 1})
        return
    with pytest.raises(TypeError, match=rf"^{cls.__name__}\(\) .*'{field}x'.*did you mean '{field}'\?") as raised:
        cls(**{f"{field}x": 1})
    assert str(raised.value).count(f"{field}x") == 1
    with pytest.raises(TypeError, match=rf"^{cls.__name__}\(\) .*'neither_like_it'; its own arguments are .*{field}"):
        cls(**{field: 1, "neither_like_it": 1})


def test_an_error_of_a_type_inside_a_validator_stays_as_it_is():
    def refuse(*_: object) -> None:
        raise TypeError("mine")

    @frozen(eq=False, repr=False)
    class Strict(Value):
        x: float = attrs.field(validator=refuse)

    with pytest.raises(TypeError, match=r"^mine$") as raised:
        Strict(x=1)
    assert raised.value.__suppress_context__ is False


def test_a_pattern_takes_the_fields_in_their_order():
    point = fresh()
    match point(3, y=4):
        case point(x):
            assert x == 3
        case _:
            pytest.fail("the pattern does not match")


def test_threads_may_use_the_class_first_at_the_same_time(request):
    request.addfinalizer(partial(sys.setswitchinterval, sys.getswitchinterval()))
    sys.setswitchinterval(1e-6)  # seconds; threads take turns as often as they can
    for _ in range(60):
        point, start, found = fresh(), threading.Barrier(4), []

        def use(point=point, start=start, found=found):
            start.wait(timeout=30)
            found.append(point(len(attrs.fields(point))))

        threads = [threading.Thread(target=use) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=30)
        assert [one.x for one in found] == [2] * 4
