"""How a value is compared and shown, written once for all value classes."""

from __future__ import annotations

import reprlib
import sys
from collections.abc import Callable
from operator import attrgetter
from typing import Any, ClassVar

import attrs


class Value:
    """Base of the value classes, each an `attrs.frozen(eq=False, repr=False)`.

    attrs would write the same methods anew for every class, as source text that is compiled at each import: with some forty
    classes that was a tenth of what a program waits for before its first call.
    """

    __slots__ = ()

    __attrs_attrs__: ClassVar[tuple[attrs.Attribute[Any], ...]] = ()

    def __eq__(self, other: object) -> bool:
        if other.__class__ is not self.__class__:
            return NotImplemented
        compared = _compared(self.__class__)
        return bool(compared(self) == compared(other))

    def __hash__(self) -> int:
        return hash((self.__class__, _compared(self.__class__)(self)))

    @reprlib.recursive_repr()
    def __repr__(self) -> str:
        shown = [field.name for field in self.__attrs_attrs__ if field.repr]
        return f"{type(self).__qualname__}({', '.join(f'{name}={getattr(self, name)!r}' for name in shown)})"


_GETTERS: dict[type[Value], Callable[[Any], Any]] = {}


def _compared(cls: type[Value]) -> Callable[[Any], Any]:
    """What reads the fields that count when two values are compared."""
    getter = _GETTERS.get(cls)
    if getter is None:
        names = [field.name for field in cls.__attrs_attrs__ if field.eq]
        getter = _GETTERS[cls] = attrgetter(*names) if names else _nothing
    return getter


def _nothing(_value: object) -> tuple[()]:
    """All values without fields are equal."""
    return ()


def is_number(value: object) -> bool:
    """Whether it is a finite number that a float can hold; a truth value is none.

    Args:
        value: Anything.
    """
    # By comparison: `math.isfinite` raises on whole numbers of more than some 300 digits.
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
