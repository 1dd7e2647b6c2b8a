"""The decorator of the value classes: `attrs.frozen`, whose work waits until the class is first used.

attrs writes the `__init__` of a class as source text and compiles it. For fifty classes this takes a seventh of the processor
time of the import of the core, and a usual call uses half of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import attrs

# In the order in which they take their places: a class that has its `__init__` has all of them.
_PARTS = ("__attrs_attrs__", "__attrs_props__", "__match_args__", "__replace__", "__init__")


class _Waiting:
    """Stands for a part that attrs has not made yet."""

    __slots__ = ("_make", "_name")

    def __init__(self, make: Callable[[], None], name: str) -> None:
        self._make = make
        self._name = name

    def __get__(self, instance: object, owner: type) -> Any:
        self._make()
        return getattr(owner if instance is None else instance, self._name)


def _frozen(**how: Any) -> Callable[[type], type]:
    """Make a slotted class at once, and let attrs make its parts when one of them is first used.

    Methods must not use `super()`: it would mean the class before it had slots.

    Args:
        **how: The keywords of `attrs.frozen`.
    """

    def decorate(plain: type) -> type:
        names = [name for name, kind in plain.__annotations__.items() if not str(kind).startswith("ClassVar")]
        body = {name: value for name, value in vars(plain).items() if name not in {*names, "__dict__", "__weakref__"}}

        def make() -> None:
            whole = vars(attrs.frozen(**how)(plain))
            for part in _PARTS:
                if part in whole:
                    setattr(found, part, whole[part])
                elif part in vars(found):  # another version of attrs has no such part
                    delattr(found, part)

        body |= {part: _Waiting(make, part) for part in _PARTS}
        has_weak = any("__weakref__" in vars(base) for base in plain.__mro__[1:])
        body["__slots__"] = names if has_weak else [*names, "__weakref__"]
        found = type(plain)(plain.__name__, plain.__bases__, body)
        return found

    return decorate


if TYPE_CHECKING:  # type checkers know the classes that this name decorates
    from attrs import frozen as frozen  # noqa: PLC0414 -- so that it is exported
else:
    frozen = _frozen
