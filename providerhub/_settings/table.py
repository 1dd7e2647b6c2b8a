"""Every key of the settings file in one table. The file's reader, its error messages and its reference use this table."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from providerhub._values import errors
from providerhub._values.capabilities import WHEN_FULL
from providerhub._values.checks import (
    COUNT,
    FLAG,
    HEADERS,
    NAMES,
    NOT_NEGATIVE,
    NUMBER,
    POSITIVE,
    SECONDS,
    SHARE,
    TEXT,
    Check,
    instance_of,
)

STRATEGIES = ("priority", "round_robin", "weighted", "fastest", "cheapest")
"""The ways to order candidates that are otherwise equal."""

ON_INTERRUPT = ("raise", "restart", "continue")
"""The ways to treat a stream that breaks after its first content."""

ANY_NAME = "*"
"""The part of a `Key.path` that stands for a name of the user's own."""

NONE = '"none"'
"""The text, as TOML, that stands for `None`: TOML has no such value."""


class Key(NamedTuple):
    """One key of the settings file.

    Args:
        path: The dotted name; `*` stands for a name of the user's own.
        kind: The kind of value, a key of `KINDS`.
        default: The default value, as TOML; empty when the key has none.
        help: One sentence about the key's effect.
        env: The environment variable that outranks the key.
        choices: The only values that the key may have; empty for any.
    """

    path: str
    kind: str
    default: str
    help: str
    env: str = ""
    choices: tuple[str, ...] = ()


def _or_none(check: Check) -> Check:
    return Check(f'{check.wanted}, or "none"', lambda value: value == "none" or check.test(value), check.shown)


def _is_error_class(name: str) -> bool:
    found = getattr(errors, name, None)
    return isinstance(found, type) and issubclass(found, errors.ProviderHubError)


KINDS: dict[str, Check] = {
    "text": TEXT,
    "number": NUMBER,
    "positive number": POSITIVE,
    "number from 0": NOT_NEGATIVE,
    "number from 0 to 1": SHARE,
    "number from 0 or none": _or_none(NOT_NEGATIVE),
    "seconds": SECONDS,
    "seconds or none": _or_none(SECONDS),
    "whole number from 1": COUNT,
    "flag": FLAG,
    "names": Check('a list of names, such as ["acme"]', NAMES.test),
    "error classes": Check(
        'a list of names of error classes, such as ["ContentPolicyError"]',
        lambda value: NAMES.test(value) and all(map(_is_error_class, value)),
    ),
    "command": Check(
        'a program and its arguments, such as ["pass", "show", "acme"]', lambda value: NAMES.test(value) and bool(value)
    ),
    "table": instance_of(dict, "a table"),
    "headers": HEADERS,
    "seconds or table": Check(f"{SECONDS.wanted}, or a table", lambda value: SECONDS.test(value) or isinstance(value, dict)),
    "models": instance_of((str, list, dict), "a model or a list of models"),
    "models of a provider": instance_of(list, "a list of names and tables"),
    "key": instance_of((str, dict), 'a table such as { env = "VARIABLE" }'),
    "option": instance_of(object, "any value"),
}
"""The name of a kind of value, as the reference shows it → its check."""

_PHASES = (
    Key("connect", "seconds", "5", "Seconds until the connection is open, the TLS handshake included."),
    Key("first_token", "seconds or none", NONE, "Seconds from the start of a streaming attempt to its first content."),
    Key("head", "seconds or none", NONE, "Seconds from the start of an attempt to the first byte of a whole answer."),
    Key("byte_idle", "seconds", "60", "Seconds between two chunks of bytes, after the first content that is not reasoning."),
    Key("token_idle", "seconds", "120", "Seconds between two events of a stream, after the first content that is not reasoning."),
    Key("total", "seconds", "600", "Seconds for the whole call, waits and fallbacks included.", "PROVIDERHUB_TIMEOUT"),
)

_LIMITS = (
    Key("timeout", "seconds or table", "", "Seconds for a whole call, or a table of phases, in place of the general `timeout`."),
    *(Key(f"timeout.{key.path}", key.kind, "", key.help) for key in _PHASES),
    Key("concurrency", "whole number from 1", "", "The number of calls at the same time. Without this key, no limit."),
    Key("rpm", "positive number", "", "Requests a minute. Without this key, no limit."),
    Key("tpm", "positive number", "", "Tokens a minute, prompts and answers together. Without this key, no limit."),
    Key(
        "when_full", "text", "",
        "At a limit, `elsewhere` asks the next candidate at once, `wait` waits. Without this key, a batch waits.", "", WHEN_FULL
    ),
    Key("headers", "headers", "{}", "Headers to send with each request, by name."),
)  # fmt: skip
"""The keys of a provider, and of a model of a provider."""

_MODEL = (
    Key("aliases", "names", "[]", "More names for this model."),
    Key("supports_stream", "flag", "", "Whether it streams its answer. Unknown without this key."),
    Key("supports_tools", "flag", "", "Whether it calls tools."),
    Key("supports_images", "flag", "", "Whether it reads images."),
    Key("supports_json_schema", "flag", "", "Whether it keeps to a JSON schema in its answer."),
    Key("supports_prefill", "flag", "", "Whether it continues a partial assistant message."),
    Key("supports_reasoning", "flag", "", "Whether it thinks before it answers, and so may be silent for minutes."),
    Key("context_window", "whole number from 1", "", "The number of tokens that prompt and answer may have together."),
    Key("price_in", "number from 0", "", "The price of a million input tokens, in one currency for all models."),
    Key("price_out", "number from 0", "", "The price of a million output tokens, in the same currency."),
    *_LIMITS,
)


def _under(path: str, keys: tuple[Key, ...]) -> tuple[Key, ...]:
    return tuple(key._replace(path=f"{path}.{key.path}") for key in keys)


KEYS = (
    Key(
        "timeout", "seconds or table", "600",
        "Seconds for a whole call, or a table of its phases.", "PROVIDERHUB_TIMEOUT"
    ),
    *_under("timeout", _PHASES),
    Key("strategy", "text", '"priority"', "How equal candidates are ordered.", "PROVIDERHUB_STRATEGY", STRATEGIES),
    Key("on_interrupt", "text", '"raise"', "The reaction to a stream that breaks after its first content.", "", ON_INTERRUPT),
    Key("hedge", "flag", "false", "Whether a second provider may be asked while the first is slow."),
    Key("emulate_stream", "flag", "false", "Whether a provider that cannot stream may answer a streaming call in one piece."),
    Key("allow", "names", "", "The only plugins that are loaded. Without this key, all are.", "PROVIDERHUB_PLUGINS"),
    Key("block", "names", "[]", "Plugins that are never imported.", "PROVIDERHUB_BLOCK"),
    Key(
        "autoload", "flag", "true", "Whether installed plugins are loaded. The variable disables that when it is 1.",
        "PROVIDERHUB_DISABLE_AUTOLOAD",
    ),
    Key("retry", "table", "", "The number of attempts of a call, and the waits between them."),
    Key(
        "retry.attempts", "whole number from 1", "4",
        "The maximum number of attempts of one call; with more candidates than that, each is tried once."
    ),
    Key(
        "retry.attempts_per_provider", "whole number from 1", "2",
        "The maximum number of attempts of one call at one provider and model."
    ),
    Key(
        "retry.patience", "number from 0", "2.5",
        "Seconds: the longest wait for a repeat at the same provider before the next model of a sequence; 0 for no repeat."
    ),
    Key(
        "retry.beside", "flag", "true",
        "Whether a slow attempt gets the next candidate asked beside it. With false, the slow attempt ends instead."
    ),
    Key(
        "retry.beside_after", "seconds or none", NONE,
        "Seconds without content after which an attempt is slow. With `none`, it depends on the time left, at most 60."
    ),
    Key(
        "retry.also_on", "error classes", "[]",
        'Errors that let a call go on to the next candidate though they usually end it, such as `"ContentPolicyError"`.'
    ),
    Key("retry.backoff", "number from 0", "0.5", "Seconds: the longest first wait before the same provider is tried again."),
    Key("retry.backoff_max", "number from 0", "8", "Seconds: the limit of that wait, which doubles each time."),
    Key("retry.throttle_backoff", "number from 0", "1", "Seconds: the first pause after a 429 without `Retry-After`."),
    Key(
        "retry.retry_after_max", "number from 0 or none", NONE,
        "Seconds: a call does not wait for a longer `Retry-After`. With `none`, the deadline alone is the limit."
    ),
    Key("retry.pause_max", "number from 0", "600", "Seconds: the longest pause of a provider because of its `Retry-After`."),
    Key("retry.hedge_quantile", "number from 0 to 1", "0.95", "Hedging starts after this quantile of past times."),
    Key("retry.hedge_samples", "whole number from 1", "20", "The number of past times below which there is no hedging."),
    Key("breaker", "table", "", "The circuit breaker: when a failing provider is left out, and for how long."),
    Key("breaker.window", "seconds", "30", "Seconds: older calls do not count."),
    Key("breaker.calls", "whole number from 1", "5", "With fewer calls in the window, `share` is ignored."),
    Key("breaker.share", "number from 0 to 1", "0.5", "The share of failed calls in the window that opens the breaker."),
    Key("breaker.in_a_row", "whole number from 1", "5", "The number of consecutive failures that opens the breaker."),
    Key(
        "breaker.open_first", "seconds", "5",
        "Seconds for which the breaker is open at first; they double with each failed probe."
    ),
    Key("breaker.open_most", "seconds", "20", "Seconds: the upper limit of that time, where the probe failed quickly."),
    Key("breaker.open_most_slow", "seconds", "300", "Seconds: the upper limit of that time, where the probe timed out."),
    Key("breaker.stall", "seconds", "10", "Seconds of silence after which an attempt that lost a race counts as a failure."),
    Key("budget", "table", "", "The retry budget of one provider, shared by all calls."),
    Key("budget.capacity", "number from 0", "10", "The maximum number of repeats in a row; 0 for none."),
    Key("budget.per_success", "number from 0", "0.1", "Repeats that each success adds."),
    Key("budget.interval", "seconds", "10", "Seconds in which one repeat is added."),
    Key("aliases", "table", "", "Names of your own for models."),
    Key(
        "aliases.*", "models", "",
        'A model, `"provider/model"`, `{ name = "...", provider = "..." }`, or a list of these, which are tried in order.',
    ),
    Key("ca_bundle", "text", "", "A PEM file of certificates to trust; relative to the settings file's folder."),
    Key("proxies", "table", "", "The proxy for each scheme, for providers without `proxies` of their own."),
    Key("proxies.*", "text", "", 'A proxy\'s address, by scheme: `https = "http://proxy:3128"`.'),
    Key(
        "trust_env", "flag", "false",
        "Whether `HTTPS_PROXY`, `NO_PROXY`, `SSL_CERT_FILE` and the like apply where `proxies` or `ca_bundle` is not set.",
        "PROVIDERHUB_TRUST_ENV",
    ),
    Key("prefer", "table", "", "The distribution to use where two have a provider of the same name."),
    Key("prefer.*", "text", "", "The distribution, by the name of the provider."),
    Key("providers", "table", "", "The providers, by name; one plugin may serve several."),
    Key("providers.*", "table", "", "One provider."),
    Key("providers.*.plugin", "text", "", "The plugin of this provider; by default the one of the same name."),
    Key("providers.*.url", "text", "", "The service's address.", "as the plugin declares, else PROVIDERHUB_<NAME>_URL"),
    Key(
        "providers.*.api_key", "key", "",
        'The key: `{ env = "VARIABLE" }`, `{ file = "PATH" }`, `{ command = ["pass", "show", "acme"] }`,'
        ' `{ keyring = "SERVICE", username = "USER" }`,'
        " or a text, if only you can read the file.",
        "as the plugin declares, else PROVIDERHUB_<NAME>_API_KEY",
    ),
    Key("providers.*.api_key.env", "text", "", "The environment variable that holds the key."),
    Key("providers.*.api_key.file", "text", "", "A file that holds the key; relative to this file's folder."),
    Key("providers.*.api_key.command", "command", "", "A program and its arguments; the first line that it prints is the key."),
    Key("providers.*.api_key.timeout", "seconds", "10", "Seconds that the command may take."),
    Key("providers.*.api_key.keyring", "text", "", "The service's name in the system's keyring. It needs the extra `keyring`."),
    Key("providers.*.api_key.username", "text", "", "The user's name in the keyring; by default the keyring's own choice."),
    Key("providers.*.priority", "number", "0", "A provider with a higher priority is tried first."),
    Key(
        "providers.*.weight", "number from 0", "1",
        "Its share of the calls under the strategy `weighted`, relative to the others."
    ),
    Key(
        "providers.*.models", "models of a provider", "[]",
        "Models in addition to those that the plugin declares: names or tables."
    ),
    Key("providers.*.models.*.name", "text", "", "The model's name, or the beginning of names with a trailing `*`."),
    *_under("providers.*.models.*", _MODEL),
    Key("providers.*.model", "table", "", "Values for single models, by name. They outrank the plugin and the service's list."),
    Key("providers.*.model.*", "table", "", "One model, or a prefix with a trailing `*`."),
    *_under("providers.*.model.*", _MODEL),
    *_under("providers.*", _LIMITS),
    Key("providers.*.client_cert", "text", "", "A PEM file with the client's certificate; relative to this file's folder."),
    Key("providers.*.client_key", "text", "", "A PEM file with its key, where `client_cert` does not hold it."),
    Key("providers.*.allow_http", "flag", "false", "Whether the key may be sent unencrypted to another machine."),
    Key("providers.*.trust_env", "flag", "", "The general `trust_env`, for this provider."),
    Key("providers.*.ca_bundle", "text", "", "The general `ca_bundle`, for this provider."),
    Key("providers.*.proxies", "table", "", "The general `proxies`, for this provider."),
    Key("providers.*.proxies.*", "text", "", 'A proxy\'s address, by scheme: `https = "http://proxy:3128"`.'),
    Key("providers.*.options", "table", "", "Values of the other settings that the plugin declares, by name."),
    Key(
        "providers.*.options.*", "option", "", "The value. A secret one may be written like `api_key`.",
        "as the plugin declares, else PROVIDERHUB_<NAME>_<OPTION>",
    ),
)  # fmt: skip
"""All keys of the settings file, in the order of the reference."""


@cache
def below(path: str) -> dict[str, Key]:
    """List the keys that may stand directly below a key.

    Args:
        path: A `Key.path`; empty for the top of the file.

    Returns:
        Last part of the name → key; `ANY_NAME` for a name of the user's own.
    """
    start = f"{path}." if path else ""
    found = ((key.path.removeprefix(start), key) for key in KEYS if key.path.startswith(start))
    return {rest: key for rest, key in found if "." not in rest}
