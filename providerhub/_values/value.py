"""The base and the decorator of all value classes; and the module that a public class names."""

from __future__ import annotations

import reprlib
import threading
from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import attrs

from providerhub._threads import renewed_at_fork
from providerhub._values.checks import hinted

# The parts are set in this order: a class that has its `__init__` has all parts.
_PARTS = ("__attrs_attrs__", "__attrs_props__", "__match_args__", "__replace__", "__init__")

_IN_EACH_CALL = {"Attempt", "Completion", "Request", "Route"}
"""Classes without a hint at a misspelt argument: the core makes them in each call, and the hint takes 0.4 µs for each."""

# Field of an answer in other libraries → the field here.
_ELSEWHERE = {
    "choices": "text", "content": "text", "output_text": "text", "function": "arguments", "input": "arguments",
    "prompt_tokens": "input_tokens", "completion_tokens": "output_tokens", "data": "vectors", "embeddings": "vectors",
}  # fmt: skip


def _meant(value: Any, name: str) -> Any:
    """Serve as `__getattr__` of the classes of answers. Other classes have none, since it slows all attributes down."""
    field = _ELSEWHERE.get(name)
    hint = f"; did you mean {field!r}?" if hasattr(type(value), field or " ") else ""
    raise AttributeError(f"{type(value).__name__!r} object has no attribute {name!r}{hint}", name=name, obj=value)


_lock = renewed_at_fork(threading.RLock())


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

    attrs writes the `__init__` of a class as source text and compiles it. For fifty classes this would take a seventh of the
    processor time of the core's import, and a usual call uses half of the classes. Methods must not use `super()`, which
    would refer to the class without slots. The keywords are those of `attrs.frozen`.
    """

    def decorate(plain: type) -> type:
        names = [name for name, kind in plain.__annotations__.items() if not str(kind).startswith("ClassVar")]
        body = {name: value for name, value in vars(plain).items() if name not in {*names, "__dict__", "__weakref__"}}

        def make() -> None:
            with _lock:  # attrs changes the class while reading it
                if not isinstance(vars(found).get("__init__"), _Waiting):  # another thread has made the parts
                    return
                whole = dict(vars(attrs.frozen(**how)(plain)))
                if "__init__" in whole and plain.__name__ not in _IN_EACH_CALL:
                    whole["__init__"] = hinted(whole["__init__"], plain.__name__)
                for part in _PARTS:
                    if part in whole:
                        setattr(found, part, whole[part])
                    elif part in vars(found):  # another version of attrs has no such part
                        delattr(found, part)

        body |= {part: _Waiting(make, part) for part in _PARTS}
        if not set(names).isdisjoint(_ELSEWHERE.values()):
            body["__getattr__"] = _meant
        has_weak = any("__weakref__" in vars(base) for base in plain.__mro__[1:])
        body["__slots__"] = names if has_weak else [*names, "__weakref__"]
        found = type(plain)(plain.__name__, plain.__bases__, body)
        return found

    return decorate


if TYPE_CHECKING:  # type checkers know the decorators of attrs
    from attrs import frozen as frozen  # noqa: PLC0414 -- so that it is exported
else:
    frozen = _frozen


class Value:
    """Base of the value classes, each a `frozen(eq=False, repr=False)`.

    attrs would generate these methods for each class as source text and compile it at each import. With forty classes that took
    a tenth of the time that a program needs before its first call. `frozen` lets the other methods wait for the same reason.
    """

    __slots__ = ()

    __attrs_attrs__: ClassVar[tuple[Any, ...]] = ()

    def __init_subclass__(cls) -> None:
        # attrs generates its own `__getstate__` and `__setstate__` for a slotted class that has none in its namespace.
        cls.__setstate__ = cls.__setstate__  # type: ignore[method-assign]
        if cls.__module__.startswith(f"{__package__}."):
            public(cls)

    def __setattr__(self, _name: str, _value: object) -> None:
        raise attrs.exceptions.FrozenInstanceError

    def __delattr__(self, _name: str) -> None:
        raise attrs.exceptions.FrozenInstanceError

    def __eq__(self, other: object) -> bool:
        if other.__class__ is not self.__class__:
            return NotImplemented
        compared = _compared(self.__class__)
        return bool(compared(self) == compared(other))

    def __hash__(self) -> int:
        return hash((self.__class__, _compared(self.__class__)(self)))

    @reprlib.recursive_repr()
    def __repr__(self) -> str:
        shown = ((field, getattr(self, field.name)) for field in self.__attrs_attrs__ if field.repr)
        fields = (f"{field.name}={value!r}" for field, value in shown if not _is_empty(field, value))
        return f"{type(self).__qualname__}({', '.join(fields)})"

    def __getstate__(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in self.__attrs_attrs__}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        # A pickle of an earlier version lacks the fields that were added since; one of a later version may have more.
        for field in self.__attrs_attrs__:
            value = state[field.name] if field.name in state else _default(field)
            object.__setattr__(self, field.name, value)


_T = TypeVar("_T", bound=Callable[..., Any] | type)

_GETTERS: dict[type[Value], Callable[[Any], Any]] = {}


def _compared(cls: type[Value]) -> Callable[[Any], Any]:
    """Return a function that reads the fields that count in a comparison."""
    getter = _GETTERS.get(cls)
    if getter is None:
        getter = _GETTERS[cls] = attrgetter(*(field.name for field in cls.__attrs_attrs__ if field.eq))
    return getter


def _default(field: attrs.Attribute[Any]) -> Any:
    if field.default is attrs.NOTHING:
        raise TypeError(f"the pickle lacks the field {field.name!r}, which has no default")
    default: Any = field.default
    converter: Any = field.converter or (lambda value: value)
    return converter(default.factory() if isinstance(default, attrs.Factory) else default)  # type: ignore[arg-type]


def _is_empty(field: attrs.Attribute[Any], value: Any) -> bool:
    """Whether a value is an empty default. The types are compared first, since an array has no truth value."""
    default = field.default if field.default is attrs.NOTHING else _default(field)
    says = isinstance(default, str | int | float) and bool(default)
    return type(value) is type(default) and not says and bool(value == default)


def public(thing: _T) -> _T:
    """Let a class or function name the module from which users import it, as `publish` does."""
    thing.__module__ = "providerhub"
    return thing


def publish(names: Mapping[str, Any], package: str = "providerhub") -> None:
    """Let the public classes and functions of a package name the module from which users import them.

    Tracebacks, pickles and `repr` show that module, and a pickle stays readable when the private module moves.
    """
    for name in names["__all__"]:
        if getattr(names[name], "__module__", "").startswith(f"{package.partition('.')[0]}."):
            names[name].__module__ = package
