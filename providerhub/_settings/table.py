"""Every key of the settings file in one table. The file's reader, its error messages and its reference use this table."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import attrs

from providerhub._values import BreakerRules, BudgetRules, RetryPolicy, Timeout, checks, errors
from providerhub._values.capabilities import TIERS, WHEN_FULL
from providerhub._values.knobs import ON_INTERRUPT, STRATEGIES
from providerhub._values.shared import ON_OUTAGE

PERIODS = ("hour", "day", "week", "month", "ever")  # the periods of budgets, in UTC
REFUSE_OR_ALLOW = ("refuse", "allow")
ANY_NAME = "*"  # the part of a `Key.path` that stands for a name of the user's own
NONE = '"none"'  # the TOML text for `None`, which TOML itself does not have


class Key(NamedTuple):
    """One key of the settings file. `docs/reference/keys.toml` has its meaning."""

    path: str  # the dotted name; `*` stands for a name of the user's own
    kind: str  # the kind of value, a key of `KINDS`
    default: str = ""  # the default value, as TOML; empty when the key has none
    env: str = ""  # the environment variable, with precedence over the key
    choices: tuple[str, ...] = ()  # the only values that the key may have; empty for any


def _or_none(check: checks.Check) -> checks.Check:
    return checks.Check(f'{check.wanted}, or "none"', lambda value: value == "none" or check.test(value), check.shown)


def _is_error_class(name: str) -> bool:
    found = getattr(errors, name, None)
    return isinstance(found, type) and issubclass(found, errors.ProviderHubError)


# The name of a kind of value, as the reference shows it → its check.
KINDS: dict[str, checks.Check] = {
    "text": checks.TEXT,
    "number": checks.NUMBER,
    "positive number": checks.POSITIVE,
    "number from 0": checks.NOT_NEGATIVE,
    "number from 0 to 1": checks.SHARE,
    "number from 0 or none": _or_none(checks.NOT_NEGATIVE),
    "seconds": checks.SECONDS,
    "seconds or none": _or_none(checks.SECONDS),
    "whole number from 1": checks.COUNT,
    "currency": checks.CURRENCY,
    "entry": checks.ENTRY,
    "flag": checks.FLAG,
    "names": checks.Check('a list of names, such as ["acme"]', checks.NAMES.test),
    "error classes": checks.Check(
        'a list of names of error classes, such as ["ContentPolicyError"]',
        lambda value: checks.NAMES.test(value) and all(map(_is_error_class, value)),
    ),
    "command": checks.Check(
        'a program and its arguments, such as ["pass", "show", "acme"]', lambda value: checks.NAMES.test(value) and bool(value)
    ),
    "table": checks.instance_of(dict, "a table"),
    "headers": checks.HEADERS,
    "seconds or table": checks.Check(
        f"{checks.SECONDS.wanted}, or a table", lambda value: checks.SECONDS.test(value) or isinstance(value, dict)
    ),
    "models": checks.instance_of((str, list, dict), "a model or a list of models"),
    "models of a provider": checks.instance_of(list, "a list of names and tables"),
    "key": checks.instance_of((str, dict), 'a table such as { env = "VARIABLE" }'),
    "price tiers": TIERS,
    "option": checks.instance_of(object, "any value"),
}
# The words of a field's validator → the kind of value.
_KIND_OF = {
    **{check.wanted: kind for kind, check in KINDS.items()},
    checks.SECONDS.or_none.wanted: "seconds or none",
    checks.NOT_NEGATIVE.or_none.wanted: "number from 0 or none",
    checks.ERROR_CLASSES.wanted: "error classes",
}


def _of(section: str, cls: type[Any]) -> tuple[Key, ...]:
    """The keys of a table for a value class, with the types and defaults of its fields."""
    return tuple(Key(f"{section}.{one.name}", _KIND_OF[one.validator.wanted], _toml(one.default)) for one in attrs.fields(cls))


def _toml(value: Any) -> str:
    if value is None:
        return NONE
    return "[]" if value == () else str(value).lower() if isinstance(value, bool) else f"{value:g}"


def _keys(table: str, text: str) -> tuple[Key, ...]:
    """The keys of a table, from a text such as `"a b: flag; c: number = 1"`."""
    found = []
    for names, _, value in (row.partition(": ") for row in text.split("; ")):
        kind, _, default = value.partition(" = ")
        found += [Key(f"{table}.{name}" if table else name, kind, default) for name in names.split()]
    return tuple(found)


_PHASES = _of("timeout", Timeout)
# The keys of a provider, and of a model of a provider.
_LIMITS = (
    Key("timeout", "seconds or table"),
    *(phase._replace(default="") for phase in _PHASES),
    *_keys("", "concurrency: whole number from 1; rpm tpm: positive number"),
    Key("when_full", "text", choices=WHEN_FULL),
    Key("headers", "headers", "{}"),
)
_MODEL = (
    *_keys("", "aliases: names = []; supports_stream supports_tools supports_images supports_json_schema: flag"),
    *_keys("", "supports_audio supports_files supports_prefill supports_reasoning supports_embeddings: flag"),
    *_keys("", "context_window: whole number from 1; max_output_tokens: whole number from 1"),
    *_keys("", "price_in price_out price_cache_read price_cache_write: number from 0"),
    *_keys("", "price_in_audio price_out_audio price_reasoning: number from 0"),
    *_keys("", 'price_tiers: price tiers; price_currency: currency = "USD"; catalog: entry'),
    *_LIMITS,
)


def _under(path: str, keys: tuple[Key, ...]) -> tuple[Key, ...]:
    return tuple(key._replace(path=f"{path}.{key.path}") for key in keys)


# All keys of the settings file, in the order of the reference.
KEYS = (
    Key("timeout", "seconds or table", "600", "PROVIDERHUB_TIMEOUT"),
    *(phase._replace(env="PROVIDERHUB_TIMEOUT" if phase.path == "timeout.total" else "") for phase in _PHASES),
    Key("strategy", "text", '"priority"', "PROVIDERHUB_STRATEGY", STRATEGIES),
    Key("on_interrupt", "text", '"raise"', "", ON_INTERRUPT),
    *_keys("", "hedge emulate_stream: flag = false"),
    Key("allow", "names", "", "PROVIDERHUB_PLUGINS"),
    Key("block", "names", "[]", "PROVIDERHUB_BLOCK"),
    Key("autoload", "flag", "true", "PROVIDERHUB_DISABLE_AUTOLOAD"),
    Key("retry", "table"),
    *_of("retry", RetryPolicy),
    Key("breaker", "table"),
    *_of("breaker", BreakerRules),
    Key("budget", "table"),
    *_of("budget", BudgetRules),
    *_keys("", "journal cache budgets budgets.*: table"),
    *_keys("journal", "enabled content: flag; url: option; redact keep: text"),
    *_keys("cache", "url: option; age: text; size: whole number from 1"),
    *_keys("budgets.*", "limit: positive number; match: table; match.*: option"),
    Key("budgets.*.per", "text", '"day"', "", PERIODS),
    Key("budgets.*.unknown_price", "text", '"refuse"', "", REFUSE_OR_ALLOW),
    Key("budgets.*.on_outage", "text", '"refuse"', "", REFUSE_OR_ALLOW),
    Key("budgets.*.currency", "text", '"USD"'),
    *_keys("", "aliases: table; aliases.*: models; ca_bundle: text; proxies: table; proxies.*: text"),
    Key("trust_env", "flag", "false", "PROVIDERHUB_TRUST_ENV"),
    Key("wire_log", "text", "", "PROVIDERHUB_WIRE_LOG"),
    *_keys("", 'shared: table; shared.namespace: text = "providerhub"'),
    Key("shared.url", "key", "", "PROVIDERHUB_SHARED"),
    Key("shared.on_outage", "text", '"local"', "", ON_OUTAGE),
    Key("shared.answer", "seconds", "0.005"),
    *_keys("", "prefer: table; prefer.*: text; providers providers.*: table; providers.*.plugin: text"),
    Key("providers.*.url", "text", "", "as the plugin declares, else PROVIDERHUB_<NAME>_URL"),
    Key("providers.*.api_key", "key", "", "as the plugin declares, else PROVIDERHUB_<NAME>_API_KEY"),
    *_keys("providers.*.api_key", "env file: text; command: command; timeout: seconds = 10; keyring username: text"),
    *_keys("providers.*", "priority: number = 0; weight: number from 0 = 1"),
    *_keys("providers.*", "models: models of a provider = []; models.*.name: text"),
    *_under("providers.*.models.*", _MODEL),
    *_keys("providers.*", "model model.*: table"),
    *_under("providers.*.model.*", _MODEL),
    *_under("providers.*", _LIMITS),
    *_keys("providers.*", "client_cert client_key: text; allow_http key_travels: flag = false"),
    *_keys("providers.*", "trust_env: flag; ca_bundle wire_log: text"),
    *_keys("providers.*", "proxies: table; proxies.*: text; options: table"),
    Key("providers.*.options.*", "option", "", "as the plugin declares, else PROVIDERHUB_<NAME>_<OPTION>"),
)


@cache
def below(path: str) -> dict[str, Key]:
    """The keys directly below a `Key.path` (empty for the top), by the last parts of their names."""
    start = f"{path}." if path else ""
    found = ((key.path.removeprefix(start), key) for key in KEYS if key.path.startswith(start))
    return {rest: key for rest, key in found if "." not in rest}
