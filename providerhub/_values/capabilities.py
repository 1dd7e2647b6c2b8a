"""The declaration of a provider: name, models, capabilities, settings. Reading it does not import the provider's code."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import attrs

from providerhub._values import checks
from providerhub._values.cost import Prices
from providerhub._values.knobs import Timeout
from providerhub._values.value import Value, frozen

DOLLARS = "USD"
_PRICE_OF = {
    "price_in": "input", "price_out": "output", "price_cache_read": "cache_read", "price_cache_write": "cache_write",
    "price_in_audio": "input_audio", "price_out_audio": "output_audio", "price_reasoning": "reasoning",
}  # fmt: skip
PRICES = (*_PRICE_OF, "price_tiers")
"""The fields of `ModelInfo` that are amounts of its `price_currency`."""

DESCRIBED = (
    *(f"supports_{name}" for name in ["stream", "tools", "images", "json_schema", "reasoning", "audio", "files", "embeddings"]),
    "context_window",
    "max_output_tokens",
    *PRICES,
    "price_currency",
)
"""The fields of `ModelInfo` that a catalogue may fill in."""

WHEN_FULL = ("elsewhere", "wait")
"""The reactions of a call when a limit of its provider is reached."""

RATE = checks.POSITIVE.or_none
LIMIT = checks.COUNT.or_none
TIMEOUT = checks.instance_of(Timeout, "a Timeout, such as Timeout(total=30)").or_none
FULL = checks.one_of(WHEN_FULL).or_none

_FLAG = checks.FLAG.or_none
_PRICE = checks.NOT_NEGATIVE.or_none
TIERS = checks.Check(
    'a list of tables with the key "above" and prices, such as {"above": 200000, "price_in": 2.5, "price_out": 15}',
    lambda value: checks.list_of(value, Mapping) and all(map(_is_tier, value)),
)
_TEXT = checks.ANY_TEXT.or_none
_ENV = checks.Check(
    "a text, or several", lambda value: all(map(checks.ANY_TEXT.test, value if isinstance(value, tuple) else (value,)))
).or_none
_DEFAULT = checks.Check(
    "a text, or a function of the other settings", lambda value: isinstance(value, str) or callable(value)
).or_none
_MODELS = checks.Check("a list of names and ModelInfo", lambda value: checks.list_of(value, ModelInfo))
_SETTINGS = checks.Check("a list of Setting", lambda value: checks.list_of(value, Setting))


def _is_tier(value: Mapping[str, Any]) -> bool:
    prices = ((name, price) for name, price in value.items() if name != "above")
    fit = (name in _PRICE_OF and checks.NOT_NEGATIVE.test(price) for name, price in prices)
    return checks.COUNT.test(value.get("above")) and all(fit)


def as_models(models: Iterable[Any]) -> tuple[ModelInfo, ...]:
    """Convert names to `ModelInfo`, so that a plain list of names is a valid declaration; a single text is refused."""
    if not isinstance(models, Iterable) or isinstance(models, str | bytes | Mapping):
        _MODELS.check(models, "models")
    found = tuple(ModelInfo(model) if isinstance(model, str) else model for model in models)
    _MODELS.check(found, "models")
    return found


def _settings(settings: Iterable[Setting]) -> tuple[Setting, ...]:
    _SETTINGS.check(settings, "settings")
    return tuple(settings)


def _variables(env: Any) -> str | tuple[str, ...] | None:
    return tuple(env) if isinstance(env, list) else env


def _names(names: Iterable[str], field: str = "aliases") -> tuple[str, ...]:
    checks.NAMES.check(names, field)
    return tuple(names)


def _turns(names: Iterable[str]) -> tuple[str, ...]:
    return _names(names, "accepts_turns")


@frozen(eq=False, repr=False)
class ModelInfo(Value):
    """One model, or, with a trailing `*`, all models whose names begin with the same characters.

    A capability is `True`, `False` or unknown (`None`, the default). A model with `True` ranks before a model with an unknown
    capability. A model with `False` is skipped for requests that need the capability.

    Args:
        name: The name as the provider knows it, or a prefix such as `"acme-tiny/*"`.
        aliases: More names for this model.
        supports_stream: Whether the model streams its answer.
        supports_tools: Whether the model calls tools.
        supports_images: Whether the model reads images.
        supports_json_schema: Whether the model's answer can follow a JSON schema.
        supports_prefill: Whether the model continues a partial assistant message at the end of the conversation.
        context_window: The maximum number of tokens of prompt and answer together; 1 or more.
        price_in: The price of a million input tokens, in `price_currency`; zero or more.
        price_out: The price of a million output tokens, in the same currency; zero or more.
        supports_reasoning: Whether the model thinks before it answers, and so may be silent for minutes.
        timeout: The timeouts for this model; `None`, the default, for the provider's timeouts.
        concurrency: The maximum number of calls of this model at the same time; 1 or more. `None`, the default: no limit.
        rpm: Requests per minute of this model; a positive number. `None`, the default: no limit.
        tpm: Tokens per minute of this model, prompts and answers together; a positive number. `None`, the default: no limit.
        when_full: The reaction when a limit is reached: `"elsewhere"` or `"wait"`. `None`, the default: as for the provider.
        headers: Headers to send with each request for this model, in addition to the provider's headers.
        supports_audio: Whether the model reads audio.
        supports_files: Whether the model reads files, such as PDF documents.
        price_cache_read: The price of a million input tokens that the service read from its cache; zero or more.
        price_cache_write: The price of a million input tokens that the service wrote to its cache; zero or more.
        price_currency: The currency of all prices, as a code of ISO 4217. Default `"USD"`.
        supports_embeddings: Whether the model turns texts into vectors, for `embed`.
        catalog: The catalogue's entry for the model, such as `"openai/gpt-4o"`; a `*` at the end stands for the model's name.
            `None`, the default: the model's name, if the service is at the vendor's own address.
        source: The source and date of the values, such as `"models.dev 2026-07-02"`. Catalogues fill it in.
        max_output_tokens: The maximum tokens of an answer; 1 or more. A budget reserves them for a call without `max_tokens`.
        price_in_audio: The price of a million input tokens that are audio; zero or more.
        price_out_audio: The price of a million output tokens that are audio; zero or more.
        price_reasoning: The price of a million tokens of reasoning; `None`, the default: `price_out`.
        price_tiers: The prices of long prompts: mappings with `"above"`, a number of input tokens, and the prices of longer
            requests. The keys are the names of the prices above; a missing price stays the same.
    """

    name: str = attrs.field(validator=checks.TEXT)
    aliases: tuple[str, ...] = attrs.field(default=(), kw_only=True, converter=_names)
    supports_stream: bool | None = attrs.field(default=None, kw_only=True, validator=_FLAG)
    supports_tools: bool | None = attrs.field(default=None, kw_only=True, validator=_FLAG)
    supports_images: bool | None = attrs.field(default=None, kw_only=True, validator=_FLAG)
    supports_json_schema: bool | None = attrs.field(default=None, kw_only=True, validator=_FLAG)
    supports_prefill: bool | None = attrs.field(default=None, kw_only=True, validator=_FLAG)
    context_window: int | None = attrs.field(default=None, kw_only=True, validator=checks.COUNT.or_none)
    price_in: float | None = attrs.field(default=None, kw_only=True, validator=_PRICE)
    price_out: float | None = attrs.field(default=None, kw_only=True, validator=_PRICE)
    supports_reasoning: bool | None = attrs.field(default=None, kw_only=True, validator=_FLAG)
    timeout: Timeout | None = attrs.field(default=None, kw_only=True, validator=TIMEOUT)
    concurrency: int | None = attrs.field(default=None, kw_only=True, validator=LIMIT)
    rpm: float | None = attrs.field(default=None, kw_only=True, validator=RATE)
    tpm: float | None = attrs.field(default=None, kw_only=True, validator=RATE)
    when_full: str | None = attrs.field(default=None, kw_only=True, validator=FULL)
    headers: Mapping[str, str] = attrs.field(factory=dict, kw_only=True, validator=checks.HEADERS, repr=False)
    supports_audio: bool | None = attrs.field(default=None, kw_only=True, validator=_FLAG)
    supports_files: bool | None = attrs.field(default=None, kw_only=True, validator=_FLAG)
    price_cache_read: float | None = attrs.field(default=None, kw_only=True, validator=_PRICE)
    price_cache_write: float | None = attrs.field(default=None, kw_only=True, validator=_PRICE)
    price_currency: str = attrs.field(default=DOLLARS, kw_only=True, validator=checks.CURRENCY)
    supports_embeddings: bool | None = attrs.field(default=None, kw_only=True, validator=_FLAG)
    catalog: str | None = attrs.field(default=None, kw_only=True, validator=checks.ENTRY.or_none)
    source: str = attrs.field(default="", kw_only=True, validator=checks.ANY_TEXT)
    max_output_tokens: int | None = attrs.field(default=None, kw_only=True, validator=checks.COUNT.or_none)
    price_in_audio: float | None = attrs.field(default=None, kw_only=True, validator=_PRICE)
    price_out_audio: float | None = attrs.field(default=None, kw_only=True, validator=_PRICE)
    price_reasoning: float | None = attrs.field(default=None, kw_only=True, validator=_PRICE)
    price_tiers: Sequence[Mapping[str, float]] | None = attrs.field(default=None, kw_only=True, validator=TIERS.or_none)

    def __hash__(self) -> int:
        return hash((ModelInfo, self.name, self.aliases))  # headers is a mapping, which has no hash

    @property
    def is_prefix(self) -> bool:
        """Whether the entry stands for every name that begins with it."""
        return self.name.endswith("*")

    @property
    def prices(self) -> Prices | None:
        """The prices of the model; `None` when none is known."""
        known: dict[str, Any] = {field: getattr(self, name) for name, field in _PRICE_OF.items()}
        if all(price is None for price in known.values()):
            return None
        known["currency"] = self.price_currency
        own = [{_PRICE_OF.get(name, name): value for name, value in tier.items()} for tier in self.price_tiers or ()]
        return Prices(**known, tiers=tuple((int(tier.pop("above")), Prices(**{**known, **tier})) for tier in own))


@frozen(eq=False, repr=False)
class Setting(Value):
    """One setting that a provider reads.

    Args:
        name: `"url"` and `"api_key"` are fields of `ProviderConfig`; every other setting is a key of its `options`.
        env: The environment variable of the setting, for the default instance. Of several variables, the first with a value
            counts.
        required: Whether the provider needs a value; without a value it is not configured. Default false.
        required_unless: The name of another setting, such as `"url"`. The value is required while the other setting has its
            default. Example: a key that only the default address needs.
        secret: Whether the value is wrapped in `Secret` and never shown. Default false.
        default: The value when nothing else sets it. Or a function that returns the value. It gets a mapping of the settings
            whose default is not a function.
        help: One line of description.
        convert: A function that converts the value for the provider. A value from the environment is a text. For a wrong value,
            the function raises `ValueError` with a message for the user. Default `None`: no conversion. A secret is not
            converted.
    """

    name: str = attrs.field(validator=checks.TEXT)
    env: str | tuple[str, ...] | None = attrs.field(default=None, kw_only=True, converter=_variables, validator=_ENV)
    required: bool = attrs.field(default=False, kw_only=True, validator=checks.FLAG)
    required_unless: str | None = attrs.field(default=None, kw_only=True, validator=_TEXT)
    secret: bool = attrs.field(default=False, kw_only=True, validator=checks.FLAG)
    default: str | Callable[[Mapping[str, Any]], str | None] | None = attrs.field(default=None, kw_only=True, validator=_DEFAULT)
    help: str = attrs.field(default="", kw_only=True)
    convert: Callable[[Any], Any] | None = attrs.field(default=None, kw_only=True, validator=checks.CALLABLE.or_none)

    @property
    def variables(self) -> tuple[str, ...]:
        """The environment variables, in the order of precedence."""
        return self.env if isinstance(self.env, tuple) else (self.env,) if self.env else ()


API_VERSION = 1
"""The major version of the plugin interface of this core."""


@frozen(eq=False, repr=False, kw_only=True)
class ProviderInfo(Value):
    """The declaration of a provider by its plugin.

    Args:
        name: The provider's name, the same as the name of its entry point. It has no slash.
        models: Names and `ModelInfo`. May be empty if the user's settings or `discover` list the models.
        factory: `"module:function"`, imported when the provider is first used. The function takes the `ProviderConfig`, returns
            the provider object, and does no I/O. It may run in a thread without an event loop. Empty for a registered object.
        settings: The settings that the provider reads.
        needs_auth: Whether the provider needs a key. The setting `api_key` is then required. Default false.
        discover: `"module:function"`. The function takes the `ProviderConfig`, asks the service and returns a list of
            `ModelInfo`. An argument `call` gets a `CallContext` with the timeouts and the cancellation. The function runs in a
            thread, if no known model matches and on refresh. The list of a service with an address is kept on disk.
        api_version: The major version of the plugin interface for which the plugin is written. Default 1.
        description: One line of description.
        timeout: The default timeouts of the provider's calls; `None`, the default, for the general timeouts.
        slow_start: Whether the first call of a model may take minutes, as with a local server that loads models. Default false.
        any_option: Whether the provider accepts options that `settings` does not declare. Default false: if `settings` is not
            empty, another option is an error.
        accepts_turns: The names of other providers whose turns (`Turn`) this provider accepts, such as the vendor of a model in a
            cloud. Default none: a turn goes back only to the host and provider that wrote it.
        pinned_only: Whether the provider serves only calls that name it, such as `"groq/llama-3.3-70b"`, until the user's
            settings name it under `providers`. So no prompt goes to a vendor only because its variable is set for another
            program. Default false.
        tariffs: The vendor's special tariffs, each with its share of the usual prices: `{"batch": 0.5}` for batches,
            `{"flex": 0.5}` for answers whose detail `tier` is `"flex"`. Default none: the cost of other tariffs is unknown.
    """

    name: str = attrs.field(validator=checks.PROVIDER_NAME)
    models: tuple[ModelInfo, ...] = attrs.field(default=(), converter=as_models)
    factory: str = attrs.field(default="", validator=checks.REFERENCE)
    settings: tuple[Setting, ...] = attrs.field(default=(), converter=_settings)
    needs_auth: bool = attrs.field(default=False, validator=checks.FLAG)
    discover: str | None = attrs.field(default=None, validator=checks.REFERENCE.or_none)
    api_version: int = attrs.field(default=API_VERSION, validator=checks.WHOLE)
    description: str = ""
    timeout: Timeout | None = attrs.field(default=None, validator=TIMEOUT)
    slow_start: bool = attrs.field(default=False, validator=checks.FLAG)
    any_option: bool = attrs.field(default=False, validator=checks.FLAG)
    accepts_turns: tuple[str, ...] = attrs.field(default=(), converter=_turns)
    pinned_only: bool = attrs.field(default=False, validator=checks.FLAG)
    tariffs: Mapping[str, float] = attrs.field(factory=dict, validator=checks.TARIFFS)

    @property
    def all_settings(self) -> tuple[Setting, ...]:
        """The declared settings. With `needs_auth`, `api_key` is among them, required and secret."""
        if not self.needs_auth:
            return self.settings
        rest = tuple(setting for setting in self.settings if setting.name != "api_key")
        declared = next((setting for setting in self.settings if setting.name == "api_key"), None)
        key = declared or Setting("api_key", env=f"{self.name.upper().replace('-', '_')}_API_KEY")
        return (*rest, attrs.evolve(key, required=True, secret=True))
