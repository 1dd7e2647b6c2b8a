"""Every key of the settings file, in one table: what is read, what is refused and what is documented come from it."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

STRATEGIES = ("priority", "round_robin", "weighted", "fastest", "cheapest")
"""The ways to order candidates that are otherwise equal."""

ON_INTERRUPT = ("raise", "restart", "continue")
"""What may happen when a stream breaks after content was handed over."""

ANY_NAME = "*"
"""Stands in a `Key.path` for a name that the user chooses."""


class Key(NamedTuple):
    """One key.

    Args:
        path: Its dotted name; `*` stands for a name that the user chooses.
        kind: What its value is: one of the names in `providerhub._settings.file.KINDS`.
        default: What holds without it, as TOML; empty for nothing.
        help: What it does, in a sentence.
        env: The environment variable that outranks it.
        choices: The only values that it may have; empty for any.
    """

    path: str
    kind: str
    default: str
    help: str
    env: str = ""
    choices: tuple[str, ...] = ()


KEYS = (
    Key(
        "timeout", "seconds or table", "600", "Seconds for a whole call, or a table of its phases.", "PROVIDERHUB_TIMEOUT"
    ),
    Key("timeout.connect", "seconds", "5", "Seconds until the connection stands, TLS included."),
    Key("timeout.first_token", "seconds", "60", "Seconds from the start of an attempt to its first content, when it streams."),
    Key("timeout.byte_idle", "seconds", "30", "Seconds between two pieces of bytes of the answer."),
    Key("timeout.token_idle", "seconds", "60", "Seconds between two events of a stream."),
    Key("timeout.total", "seconds", "600", "Seconds for the whole call, waits and fallbacks included.", "PROVIDERHUB_TIMEOUT"),
    Key("strategy", "text", '"priority"', "How equal candidates are ordered.", "PROVIDERHUB_STRATEGY", STRATEGIES),
    Key("on_interrupt", "text", '"raise"', "What happens when a stream breaks in mid-answer.", "", ON_INTERRUPT),
    Key("hedge", "flag", "false", "Whether a second provider may be asked while the first is slow."),
    Key("emulate_stream", "flag", "false", "Whether a provider that cannot stream may answer a streaming call in one piece."),
    Key("allow", "names", "", "The only plugins that are looked at; without it, all are.", "PROVIDERHUB_PLUGINS"),
    Key("block", "names", "[]", "Plugins that are never imported.", "PROVIDERHUB_BLOCK"),
    Key(
        "autoload", "flag", "true", "Whether installed plugins are looked for at all. The variable set to 1 means false.",
        "PROVIDERHUB_DISABLE_AUTOLOAD",
    ),
    Key("retry", "table", "", "How far a call goes before it gives up."),
    Key("retry.attempts", "whole number from 1", "4", "The most attempts of one call, all providers together."),
    Key("retry.attempts_per_provider", "whole number from 1", "2", "The most attempts of one call at one provider."),
    Key("retry.backoff", "number from 0", "0.5", "Seconds; the range of the first wait before the same provider is tried again."),
    Key("retry.backoff_max", "number from 0", "8", "Seconds; the cap of that range, which doubles from wait to wait."),
    Key("retry.throttle_backoff", "number from 0", "1", "Seconds; in place of `backoff` after a rate limit that named no time."),
    Key("retry.retry_after_max", "number from 0", "30", "Seconds; a `Retry-After` longer than this is not waited for."),
    Key("retry.pause_max", "number from 0", "600", "Seconds; the longest that a provider's *not before* is remembered."),
    Key("retry.hedge_quantile", "number from 0 to 1", "0.95", "The quantile of past times after which a hedged call asks a second provider."),
    Key("retry.hedge_samples", "whole number from 1", "20", "The fewest past times from which that quantile is taken."),
    Key("breaker", "table", "", "When a provider that keeps failing is left alone, and for how long."),
    Key("breaker.window", "seconds", "30", "Seconds of the past that count."),
    Key("breaker.calls", "whole number from 1", "5", "The fewest calls in the window before a share is meaningful."),
    Key("breaker.share", "number from 0 to 1", "0.5", "The share of failing calls from which on it is left alone."),
    Key("breaker.in_a_row", "whole number from 1", "5", "Failures in a row after which it is left alone whatever the share."),
    Key("breaker.open_first", "seconds", "5", "Seconds that it is left alone at first; doubled at each probe that fails."),
    Key("breaker.open_most", "seconds", "300", "Seconds; the cap of that."),
    Key("budget", "table", "", "How much trying again one provider is worth, all calls together."),
    Key("budget.capacity", "number from 0", "10", "The most repeats in a row; 0 for none at all."),
    Key("budget.per_success", "number from 0", "0.1", "Repeats that a success earns."),
    Key("budget.interval", "seconds", "10", "Seconds in which one repeat comes back."),
    Key("aliases", "table", "", "Names of your own for models."),
    Key(
        "aliases.*", "models", "",
        'What a name stands for: a model, `"provider/model"`, `{ name = "...", provider = "..." }`, or a list of'
        " these, tried in order.",
    ),
    Key("prefer", "table", "", "Which distribution is meant where two bring a provider of the same name."),
    Key("prefer.*", "text", "", "The distribution, by the provider's name."),
    Key("providers", "table", "", "The providers, by name; one plugin may serve several."),
    Key("providers.*", "table", "", "One provider."),
    Key("providers.*.plugin", "text", "", "The plugin that serves it, where its name is another than the provider's."),
    Key("providers.*.url", "text", "", "The service's address.", "as the plugin declares, else PROVIDERHUB_<NAME>_URL"),
    Key(
        "providers.*.api_key", "key", "",
        'The key: `{ env = "VARIABLE" }`, `{ command = ["pass", "show", "acme"] }`, `{ keyring = "SERVICE", username = "USER" }`,'
        " or a text, if only you can read the file.",
        "as the plugin declares, else PROVIDERHUB_<NAME>_API_KEY",
    ),
    Key("providers.*.api_key.env", "text", "", "The environment variable that holds the key."),
    Key("providers.*.api_key.command", "command", "", "A program and its arguments; the first line that it prints is the key."),
    Key("providers.*.api_key.timeout", "seconds", "10", "Seconds that the command may take."),
    Key("providers.*.api_key.keyring", "text", "", "The service's name in the system's keyring; needs the extra `keyring`."),
    Key("providers.*.api_key.username", "text", "", "The user's name in the keyring; by default the keyring's own choice."),
    Key("providers.*.priority", "number", "0", "A higher one is tried first."),
    Key("providers.*.weight", "number from 0", "1", "Share of the calls under the strategy `weighted`, relative to the others."),
    Key("providers.*.models", "models of a provider", "[]", "Models beside those that the plugin declares: names or tables."),
    Key("providers.*.models.*.name", "text", "", "The model's name, or the beginning of names with a trailing `*`."),
    Key("providers.*.models.*.aliases", "names", "[]", "Further names that mean this model."),
    Key("providers.*.models.*.supports_stream", "flag", "", "Whether it answers in pieces; unknown when it is left out."),
    Key("providers.*.models.*.supports_tools", "flag", "", "Whether it calls tools."),
    Key("providers.*.models.*.supports_images", "flag", "", "Whether it reads images."),
    Key("providers.*.models.*.supports_json_schema", "flag", "", "Whether it can be held to a JSON schema."),
    Key("providers.*.models.*.supports_prefill", "flag", "", "Whether it carries on from a partial answer."),
    Key("providers.*.models.*.context_window", "whole number from 1", "", "Tokens of prompt and answer together."),
    Key("providers.*.models.*.price_in", "number from 0", "", "Price of a million input tokens, in one currency for all models."),
    Key("providers.*.models.*.price_out", "number from 0", "", "Price of a million output tokens, likewise."),
    Key("providers.*.ca_bundle", "text", "", "A PEM file of certificates to trust; relative to the settings file's folder."),
    Key("providers.*.proxies", "table", "", "Proxy by scheme; none is used otherwise."),
    Key("providers.*.proxies.*", "text", "", 'A proxy\'s address, by scheme: `https = "http://proxy:3128"`.'),
    Key("providers.*.options", "table", "", "Further settings that the plugin declares, by name."),
    Key(
        "providers.*.options.*", "option", "", "Its value; one that is secret may be written like `api_key`.",
        "as the plugin declares, else PROVIDERHUB_<NAME>_<OPTION>",
    ),
)  # fmt: skip
"""The reference of the settings file, in the order in which it is documented."""


@cache
def below(path: str) -> dict[str, Key]:
    """The keys that may stand directly below a key.

    Args:
        path: A `Key.path`; empty for the file's top.

    Returns:
        Last part of the name → key; `ANY_NAME` for a name that the user chooses.
    """
    start = f"{path}." if path else ""
    found = ((key.path.removeprefix(start), key) for key in KEYS if key.path.startswith(start))
    return {rest: key for rest, key in found if "." not in rest}
