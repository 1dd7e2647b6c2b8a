"""The installed stores of shared state: entry-point group `providerhub.shared`, scheme of an address → callable."""

from __future__ import annotations

from urllib.parse import urlsplit

from providerhub._finding.installed import OURS, import_object, in_group
from providerhub._values.errors import ConfigurationError
from providerhub._values.shared import Shared, SharedState

STORE_GROUP = "providerhub.shared"


def open_store(shared: Shared) -> SharedState:
    """Make the store for an address. It connects later."""
    scheme = urlsplit(shared.url.reveal() if shared.url else "").scheme
    known = in_group(STORE_GROUP)
    found = [entry for entry in known if entry.name == scheme]
    if len(found) != 1:
        problem = f"several distributions offer one: {', '.join(entry.distribution for entry in found)}; uninstall all but one"
        names = ", ".join(sorted({entry.name for entry in known})) or "none"
        ours = "".join(f"; for {store}: pip install providerhub-{one}" for store, one in OURS["stores"].items())
        nothing = f"the installed stores are for: {names}{ours}"
        raise ConfigurationError(f"shared.url: no store can be chosen for the scheme {scheme!r}; {problem if found else nothing}")
    try:
        store: SharedState = import_object(found[0].value)(shared)
    except ConfigurationError:
        raise
    except Exception as error:  # a distribution may raise anything at import
        msg = f"shared.url: the store of {found[0].distribution} cannot be used: {type(error).__name__}: {error}"
        raise ConfigurationError(msg) from error
    return store


def store_of(given: Shared | SharedState | str | None, settings: Shared) -> tuple[SharedState | None, bool]:
    """The store of an argument or the settings, if any, and whether it was opened here."""
    try:
        shared = settings if given is None else Shared(given) if isinstance(given, str) else given
    except ValueError as error:
        raise ConfigurationError(f"shared: {error}") from None
    if not isinstance(shared, Shared):
        return shared, False
    return (None if shared.url is None else open_store(shared)), True
