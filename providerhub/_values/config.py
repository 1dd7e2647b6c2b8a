"""The configuration of one provider instance, and the secrets in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, Self, final

import attrs

from providerhub._values.capabilities import FULL, LIMIT, RATE, TIMEOUT, ModelInfo, as_models
from providerhub._values.checks import FLAG, HEADERS, MAPPING, NOT_NEGATIVE, NUMBER, TEXT, Check, mapping_to, shape
from providerhub._values.knobs import Timeout
from providerhub._values.value import Value, frozen, public


class KeySource(Protocol):
    """The place of a key, which is read when the key is first used."""

    def read(self) -> str:
        """Return the key.

        Raises:
            ConfigurationError: The key cannot be read.
        """
        ...


@public
@final
class Secret:
    """A value that `repr`, `str`, tracebacks and logs never show.

    Args:
        value: The value. Read it with `reveal()` just before it is sent.
    """

    __slots__ = ("_value", "source")

    def __init__(self, value: str) -> None:
        self._value: str | None = value
        self.source: KeySource | None = None
        """The place of the value; `None` when the value was given directly."""

    @classmethod
    def later(cls, source: KeySource) -> Self:
        """Make a secret that is read when it is first used, and then kept.

        Args:
            source: The place from which the value is read.
        """
        made = cls("")
        made._value, made.source = None, source
        return made

    def reveal(self) -> str:
        """Return the value.

        Raises:
            ConfigurationError: The value has a source, and cannot be read from it.
        """
        if self._value is None and self.source is not None:
            self._value = self.source.read()
        return self._value or ""

    def renew(self) -> bool:
        """Read the value from its source again. Return whether it has changed.

        Raises:
            ConfigurationError: The value cannot be read. The old one is kept.
        """
        if self.source is None:
            return False
        fresh = self.source.read()
        changed, self._value = fresh != self._value, fresh
        return changed

    def __getstate__(self) -> tuple[None, dict[str, Any]]:
        # A pickle holds no value that was read from a source: the process that reads the pickle reads the source.
        return None, {"_value": None if self.source is not None else self._value, "source": self.source}

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
        """Two secrets are equal if their sources are equal, or, without sources, their values. No source is read."""
        return self._value if self.source is None else self.source


def wrapped(value: str | Secret | None) -> Secret | None:
    return Secret(value) if isinstance(value, str) else value


_SECRET = Check("a text, a Secret or None", lambda value: value is None or isinstance(value, Secret), shape)
PROXIES = mapping_to(str, "a mapping of schemes to addresses, such as {'https': 'http://proxy:3128'}")
"""The check of `proxies`, here and in `Settings`."""

_REFINED = mapping_to(ModelInfo, "a mapping of models' names to ModelInfo, such as {'gpt-4o': ModelInfo('gpt-4o', rpm=60)}")


@frozen(eq=False, repr=False, kw_only=True)
class ProviderConfig(Value):
    """The configuration of one provider instance, from the caller or the settings file. The provider's factory gets it.

    Args:
        name: The instance's name; the hub fills it in.
        plugin: The plugin of this instance; `None`, the default, for the plugin with the same name.
        url: The address of the service, such as `"https://api.acme.example"`; not empty.
        api_key: The key; a `str` is wrapped in `Secret`.
        options: Values of the other settings that the plugin declares, by name.
        proxies: The proxy for each scheme, such as `{"https": "http://proxy:3128"}`. Default: no proxy.
        ca_bundle: Path of a PEM file with the certificates to trust, in place of the default certificates.
        models: Models of this instance, in addition to those that the plugin declares: names, prefixes with a trailing `*`,
            or `ModelInfo`.
        priority: A provider with a higher priority is tried first. Default 0.
        weight: The provider's share of the calls with the strategy `weighted`, relative to other providers; zero or more, default
            1.
        origin: The source of the values: `"argument"`, the default, or the settings file's path. Arguments take precedence over
            the environment, and the environment over the file.
        headers: Headers to send with each request, by name, such as `{"X-Title": "my app"}`. `repr` leaves them out.
        client_cert: Path of a PEM file with the client's certificate.
        client_key: Path of a PEM file with the key of `client_cert`; `None`, the default, if `client_cert` contains the key.
        timeout: The timeouts of calls to this provider; `None`, the default, for the general timeouts.
        concurrency: The maximum number of calls at the same time; 1 or more. `None`, the default, for no limit.
        rpm: Requests per minute; a positive number. `None`, the default, for no limit.
        tpm: Tokens per minute, prompts and answers together; a positive number. `None`, the default, for no limit.
        when_full: The reaction when a limit is reached: `"elsewhere"` asks the next candidate at once, `"wait"` waits. `None`,
            the default: `"elsewhere"`, and `"wait"` in a batch.
        allow_http: Whether the key may be sent unencrypted to another machine. Default false.
        key_travels: Whether a key in the settings may go to other machines, in a pickle of the hub. Default false: write the key
            as a reference (variable, file, command or keyring), which each machine reads.
        trust_env: Whether variables such as `HTTPS_PROXY`, `NO_PROXY` and `SSL_CERT_FILE` apply if `proxies` or `ca_bundle` is
            not set. `None`, the default, for the general setting.
        wire_log: Path of a file to which each request and answer is appended, without keys; `"-"` for standard error. `None`, the
            default, for the general setting.
        model: Values for single models, by name, or by a prefix with a trailing `*`. They take precedence over the plugin's
            declaration and the service's list. They add no model.
    """

    name: str = ""
    plugin: str | None = attrs.field(default=None, validator=TEXT.or_none)
    url: str | None = attrs.field(default=None, validator=TEXT.or_none)
    api_key: Secret | None = attrs.field(default=None, converter=wrapped, validator=_SECRET)
    options: Mapping[str, Any] = attrs.field(factory=dict, validator=MAPPING)
    proxies: Mapping[str, str] = attrs.field(factory=dict, validator=PROXIES)
    ca_bundle: str | None = attrs.field(default=None, validator=TEXT.or_none)
    models: tuple[ModelInfo, ...] = attrs.field(default=(), converter=as_models)
    priority: int = attrs.field(default=0, validator=NUMBER)
    weight: float = attrs.field(default=1.0, validator=NOT_NEGATIVE)
    origin: str = "argument"
    headers: Mapping[str, str] = attrs.field(factory=dict, validator=HEADERS, repr=False)
    client_cert: str | None = attrs.field(default=None, validator=TEXT.or_none)
    client_key: str | None = attrs.field(default=None, validator=TEXT.or_none)
    timeout: Timeout | None = attrs.field(default=None, validator=TIMEOUT)
    concurrency: int | None = attrs.field(default=None, validator=LIMIT)
    rpm: float | None = attrs.field(default=None, validator=RATE)
    tpm: float | None = attrs.field(default=None, validator=RATE)
    when_full: str | None = attrs.field(default=None, validator=FULL)
    allow_http: bool = attrs.field(default=False, validator=FLAG)
    key_travels: bool = attrs.field(default=False, validator=FLAG)
    trust_env: bool | None = attrs.field(default=None, validator=FLAG.or_none)
    wire_log: str | None = attrs.field(default=None, validator=TEXT.or_none)
    model: Mapping[str, ModelInfo] = attrs.field(factory=dict, validator=_REFINED)

    def get(self, name: str) -> Any:
        """Look up one declared setting.

        Args:
            name: `"url"`, `"api_key"`, or a key of `options`.

        Returns:
            The value, or `None` when the setting has no value.
        """
        if name in {"url", "api_key"}:
            return getattr(self, name)
        return self.options.get(name)
