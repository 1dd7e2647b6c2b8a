"""The variables of the environment that name proxies and certificates for all programs: `HTTPS_PROXY`, `SSL_CERT_FILE` etc.

They apply when `trust_env` is true. An explicit setting outranks them.
"""

from __future__ import annotations

import os

import attrs

from providerhub._values import ProviderConfig

# The variables that name certificates; the first one that is set counts.
_BUNDLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_DIR")


def with_environment(config: ProviderConfig) -> ProviderConfig:
    """Take the proxies and the certificates of an instance from the environment, if `trust_env` is true."""
    if not config.trust_env or not config.url:
        return config
    proxies, bundle = _proxies(config), _bundle(config)
    if not proxies and not bundle:
        return config
    from requests.utils import get_environ_proxies  # slow to import; only a variable that is set needs it

    # requests reads NO_PROXY too, with its names, addresses and networks.
    found = get_environ_proxies(config.url, no_proxy=None) if proxies else {}
    own = {scheme: address for scheme, address in found.items() if scheme in {"http", "https", "all"}}
    return attrs.evolve(config, proxies=config.proxies or own, ca_bundle=config.ca_bundle or os.environ.get(bundle))


def unused_environment(config: ProviderConfig) -> str:
    """Return a sentence about the variables that are set and do not apply to an instance; empty without such a variable."""
    if config.trust_env or not config.url:
        return ""
    found = {"proxies": _proxies(config), "ca_bundle": _bundle(config)}
    fields = [field for field, name in found.items() if name]
    if not fields:
        return ""
    names = [name for name in found.values() if name]
    verb = "are" if len(names) > 1 else "is"
    return (
        f"{' and '.join(names)} {verb} set but not used: set trust_env = true, or {' and '.join(fields)}, "
        f"for provider {config.name!r}"
    )


def _proxies(config: ProviderConfig) -> str:
    """The name of the variable that names a proxy for the url of an instance without proxies; empty without one."""
    scheme = "https" if (config.url or "").lower().startswith("https:") else "http"
    names = [name for kind in (scheme, "all") for name in (f"{kind}_proxy", f"{kind.upper()}_PROXY")]
    name = "" if config.proxies else next((name for name in names if os.environ.get(name)), "")
    if not name:
        return ""
    from requests.utils import should_bypass_proxies  # slow to import; only a variable that is set needs it

    return "" if should_bypass_proxies(config.url or "", no_proxy=None) else name


def _bundle(config: ProviderConfig) -> str:
    """The name of the variable that names certificates for an instance without a bundle; empty without one."""
    if config.ca_bundle or not (config.url or "").lower().startswith("https:"):
        return ""
    return next((name for name in _BUNDLES if os.environ.get(name)), "")
