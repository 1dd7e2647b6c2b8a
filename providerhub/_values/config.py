"""How one provider instance is set up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, Self, final

import attrs

from providerhub._values.value import Value, is_number


class KeySource(Protocol):
    """Where a key can be read from when it is first wanted."""

    def read(self) -> str:
        """The key.

        Raises:
            ConfigurationError: It cannot be had.
        """
        ...


@final
class Secret:
    """A value that never shows itself: not in `repr`, `str`, a traceback or a log.

    Args:
        value: The value to keep. Read it with `reveal()`, at the moment it goes on the wire.
    """

    __slots__ = ("_value", "source")

    def __init__(self, value: str) -> None:
        self._value: str | None = value
        self.source: KeySource | None = None
        """Where the value is read from; `None` for one that was given as it is."""

    @classmethod
    def later(cls, source: KeySource) -> Self:
        """A value that is read when it is first wanted, and kept from then on.

        Args:
            source: Where it is read from.
        """
        made = cls("")
        made._value, made.source = None, source
        return made

    def reveal(self) -> str:
        """The value itself.

        Raises:
            ConfigurationError: It is read from somewhere, and could not be.
        """
        if self._value is None:
            assert self.source is not None  # noqa: S101 -- only `later` leaves the value open
            self._value = self.source.read()
        return self._value

    def renew(self) -> bool:
        """Read the value again from where it comes; true when it has changed.

        Raises:
            ConfigurationError: It could not be read; the old value stays.
        """
        if self.source is None:
            return False
        fresh = self.source.read()
        changed, self._value = fresh != self._value, fresh
        return changed

    def __repr__(self) -> str:
        return "Secret('***')"

    def __str__(self) -> str:
        return "***"

    def __bool__(self) -> bool:
        return self.source is not None or bool(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._identity == self._identity

    def __hash__(self) -> int:
        return hash((Secret, self._identity))

    @property
    def _identity(self) -> object:
        """What makes two equal: the source, which need not be asked for that; else the value."""
        return self._value if self.source is None else self.source


def _secret(value: str | Secret | None) -> Secret | None:
    return Secret(value) if isinstance(value, str) else value


def _models(models: Any) -> tuple[Any, ...]:
    """Refuse a lone name, whose characters would become models.

    Raises:
        TypeError: It is a text, or no sequence.
    """
    if not isinstance(models, list | tuple):
        msg = f"models must be a list of names or ModelInfo, not {models!r}"
        raise TypeError(msg)
    return tuple(models)


def _number(_instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    """Refuse what candidates cannot be sorted by.

    Raises:
        ValueError: It is not a finite number.
    """
    if not is_number(value):
        msg = f"{attribute.name} must be a finite number, not {value!r}"
        raise ValueError(msg)


def _share(instance: object, attribute: attrs.Attribute[Any], value: float) -> None:
    """As `_number`, and not negative.

    Raises:
        ValueError: It is negative.
    """
    _number(instance, attribute, value)
    if value < 0:
        msg = f"{attribute.name} must be zero or more, not {value!r}"
        raise ValueError(msg)


@attrs.frozen(eq=False, repr=False, kw_only=True)
class ProviderConfig(Value):
    """The settings of one provider instance, as a caller or the settings file gives them and as `create(config)` gets them.

    Args:
        name: The instance's name; filled in by the hub.
        plugin: The plugin that this is an instance of; `None` means the one of the same name.
        url: The service's address.
        api_key: The key; a `str` is wrapped in `Secret`.
        options: Further settings that the plugin declares, by name.
        proxies: Proxy by scheme, such as `{"https": "http://proxy:3128"}`; empty means no proxy.
        ca_bundle: Path of a PEM file to trust in place of the default certificates.
        models: Models of this instance, in addition to those that the plugin declares; a name, a prefix with a
            trailing `*`, or a `ModelInfo`.
        priority: A higher one is tried first.
        weight: Share of the calls under the strategy `weighted`, relative to the others.
        origin: Where the values came from: `"argument"`, or the settings file's path. Environment variables
            outrank a file, and an argument outranks them.
    """

    name: str = ""
    plugin: str | None = None
    url: str | None = None
    api_key: Secret | None = attrs.field(default=None, converter=_secret)
    options: Mapping[str, Any] = attrs.field(factory=dict)
    proxies: Mapping[str, str] = attrs.field(factory=dict)
    ca_bundle: str | None = None
    models: tuple[Any, ...] = attrs.field(default=(), converter=_models)
    priority: int = attrs.field(default=0, validator=_number)
    weight: float = attrs.field(default=1.0, validator=_share)
    origin: str = "argument"

    def get(self, name: str) -> Any:
        """The value of one declared setting.

        Args:
            name: `"url"`, `"api_key"`, or a key of `options`.

        Returns:
            The value, or `None` when it has none.
        """
        if name in {"url", "api_key"}:
            return getattr(self, name)
        return self.options.get(name)
