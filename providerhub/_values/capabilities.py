"""What a provider is and can do, readable before any of its heavy code is imported."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs

from providerhub._values.value import Value


def _tuple_of_models(models: object) -> tuple[ModelInfo, ...]:
    """Accept names beside `ModelInfo`s, so that a plain list of names is a valid declaration.

    Raises:
        TypeError: An item is neither.
    """
    if isinstance(models, str):
        msg = f"models must be a sequence of ModelInfo, not the string {models!r}"
        raise TypeError(msg)
    result = tuple(ModelInfo(model) if isinstance(model, str) else model for model in models)  # type: ignore[attr-defined]
    for model in result:
        if not isinstance(model, ModelInfo):
            msg = f"models must hold ModelInfo or names, not {model!r}"
            raise TypeError(msg)
    return result


def _tuple_of_settings(settings: Iterable[Setting]) -> tuple[Setting, ...]:
    """Refuse what would only fail when the settings are read.

    Raises:
        TypeError: It is not a sequence of settings.
    """
    if not isinstance(settings, list | tuple) or not all(isinstance(setting, Setting) for setting in settings):
        msg = f"settings must be a sequence of Setting, not {settings!r}"
        raise TypeError(msg)
    return tuple(settings)


def _names(aliases: Iterable[str]) -> tuple[str, ...]:
    """Refuse a lone string, whose characters would become aliases.

    Raises:
        TypeError: It is not a sequence of names.
    """
    if not isinstance(aliases, list | tuple | set | frozenset) or not all(isinstance(alias, str) for alias in aliases):
        msg = f"aliases must be a sequence of names, not {aliases!r}"
        raise TypeError(msg)
    return tuple(aliases)


def _number_or_none(_instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    """Refuse what cannot be compared with a number.

    Raises:
        TypeError: It is neither a number nor `None`.
    """
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        msg = f"{attribute.name} must be a number or None, not {value!r}"
        raise TypeError(msg)


def _text_or_none(_instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    """Refuse what is neither a text nor `None`.

    Raises:
        TypeError: It is something else.
    """
    if value is not None and not isinstance(value, str):
        msg = f"{attribute.name} must be a text or None, not {value!r}"
        raise TypeError(msg)


def _reference(_instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    """Refuse what is not `"module:function"`; empty for providers that are registered as objects.

    Raises:
        ValueError: It is something else.
    """
    if value and not (isinstance(value, str) and all(part.strip() for part in value.partition(":"))):
        msg = f"{attribute.name} must be 'module:function', not {value!r}"
        raise ValueError(msg)


def _whole(_instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    """Refuse what is not a whole number.

    Raises:
        TypeError: It is something else.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        msg = f"{attribute.name} must be a whole number, not {value!r}"
        raise TypeError(msg)


def _name(_instance: object, attribute: attrs.Attribute[str], value: object) -> None:
    """Refuse an empty name, or one that could not be written in `"provider/model"`.

    Raises:
        ValueError: It is not such a text.
    """
    if not isinstance(value, str) or not value.strip():
        msg = f"{attribute.name} must be a non-empty text, not {value!r}"
        raise ValueError(msg)


def _provider_name(instance: object, attribute: attrs.Attribute[str], value: str) -> None:
    """As `_name`, and free of slashes.

    Raises:
        ValueError: It holds a slash.
    """
    _name(instance, attribute, value)
    if "/" in value:
        msg = f"a provider's name cannot hold a slash, since 'provider/model' is split at the first one: {value!r}"
        raise ValueError(msg)


@attrs.frozen(eq=False, repr=False)
class ModelInfo(Value):
    """One model, or with a trailing `*` all models whose names begin so.

    A capability is `True`, `False` or unknown (`None`). Known-true ranks ahead of unknown; false is left out
    when a request needs it.

    Args:
        name: The name as the provider knows it, or a prefix such as `"acme-tiny/*"`.
        aliases: Further names that mean this model.
        supports_stream: Whether it answers in pieces as they are made.
        supports_tools: Whether it calls tools.
        supports_images: Whether it reads images.
        supports_json_schema: Whether it can be held to a JSON schema.
        supports_prefill: Whether it carries on from a partial assistant message at the conversation's end.
        context_window: Tokens of prompt and answer together.
        price_in: Price of a million input tokens, in any one currency for all models.
        price_out: Price of a million output tokens, likewise.
    """

    name: str = attrs.field(validator=_name)
    aliases: tuple[str, ...] = attrs.field(default=(), kw_only=True, converter=_names)
    supports_stream: bool | None = attrs.field(default=None, kw_only=True)
    supports_tools: bool | None = attrs.field(default=None, kw_only=True)
    supports_images: bool | None = attrs.field(default=None, kw_only=True)
    supports_json_schema: bool | None = attrs.field(default=None, kw_only=True)
    supports_prefill: bool | None = attrs.field(default=None, kw_only=True)
    context_window: int | None = attrs.field(default=None, kw_only=True, validator=_number_or_none)
    price_in: float | None = attrs.field(default=None, kw_only=True, validator=_number_or_none)
    price_out: float | None = attrs.field(default=None, kw_only=True, validator=_number_or_none)

    @property
    def is_prefix(self) -> bool:
        """Whether the entry stands for every name that begins with it."""
        return self.name.endswith("*")


@attrs.frozen(eq=False, repr=False)
class Setting(Value):
    """One value that a provider needs to be told.

    Args:
        name: `"url"` and `"api_key"` have a place of their own in `ProviderConfig`; any other goes to its `options`.
        env: The environment variable that sets it for the default instance.
        required: Without a value the provider is not configured, and is left out.
        required_unless: As `required`, unless the setting of this name has a value other than its default: a key that the
            usual address asks for, and another one may do without.
        secret: It is wrapped in `Secret` and never shown.
        default: The value when nothing sets it.
        help: What it is, for people.
    """

    name: str = attrs.field(validator=_name)
    env: str | None = attrs.field(default=None, kw_only=True, validator=_text_or_none)
    required: bool = attrs.field(default=False, kw_only=True)
    required_unless: str | None = attrs.field(default=None, kw_only=True, validator=_text_or_none)
    secret: bool = attrs.field(default=False, kw_only=True)
    default: str | None = attrs.field(default=None, kw_only=True, validator=_text_or_none)
    help: str = attrs.field(default="", kw_only=True)


API_VERSION = 1
"""The major version of the plugin interface that this core speaks."""


@attrs.frozen(eq=False, repr=False, kw_only=True)
class ProviderInfo(Value):
    """What a plugin says of its provider.

    Args:
        name: The provider's name: the same as that of its entry point.
        models: What it serves; may be empty when the user's settings or `discover` tell.
        factory: `"module:function"`, imported when the provider is first used; it is given the `ProviderConfig`, returns
            the provider object, and does no I/O. May be empty for providers that are registered as objects.
        settings: What it must be told.
        needs_auth: Whether a key is required; then the setting `api_key` counts as required.
        discover: `"module:function"`; given the `ProviderConfig` it returns `ModelInfo`s by asking the service. It is
            called only when nothing declared matches, or on refresh, and its answer is cached.
        api_version: The major version of this interface that the plugin was written for.
        description: One line for people.
    """

    name: str = attrs.field(validator=_provider_name)
    models: tuple[ModelInfo, ...] = attrs.field(default=(), converter=_tuple_of_models)
    factory: str = attrs.field(default="", validator=_reference)
    settings: tuple[Setting, ...] = attrs.field(default=(), converter=_tuple_of_settings)
    needs_auth: bool = False
    discover: str | None = attrs.field(default=None, validator=_reference)
    api_version: int = attrs.field(default=API_VERSION, validator=_whole)
    description: str = ""

    @property
    def all_settings(self) -> tuple[Setting, ...]:
        """The declared settings, with `api_key` added or made required where `needs_auth` says so."""
        if not self.needs_auth:
            return self.settings
        rest = tuple(setting for setting in self.settings if setting.name != "api_key")
        declared = next((setting for setting in self.settings if setting.name == "api_key"), None)
        key = declared or Setting("api_key", env=f"{self.name.upper().replace('-', '_')}_API_KEY")
        return (*rest, attrs.evolve(key, required=True, secret=True))
