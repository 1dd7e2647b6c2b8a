"""The settings of the journal, read from the table `[journal]`."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, NamedTuple

from providerhub import ConfigurationError, Secret
from providerhub_journal._joining import program

_UNITS = {"m": 60.0, "h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}
_KNOWN = ("enabled", "url", "content", "redact", "keep", "ledger")
_LEDGERS = ("database", "shared")

Row = dict[str, Any]
Redact = Callable[[Row], Row | None]


class Config(NamedTuple):
    """The settings of one journal.

    Args:
        address: The SQLAlchemy address of the database; empty for the SQLite file in the user's data folder.
        content: Whether prompts, answers and the words of errors are kept.
        redact: `"module:function"`, which changes a row before it is written, or returns `None` to leave it out; empty for none.
        keep: Seconds for which rows are kept; `None` for ever.
        program: The name of the program that makes the calls.
        ledger: The place of the budgets: `"database"`, or `"shared"` for the store of `[shared]`.
    """

    address: str
    content: bool = False
    redact: str = ""
    keep: float | None = None
    program: str = ""
    ledger: str = "database"

    @property
    def url(self) -> str:
        """The address of the database."""
        return self.address or default_url()


def default_url() -> str:
    """The address of the SQLite file in the user's data folder."""
    if sys.platform == "linux" and not os.environ.keys() & {"XDG_DATA_HOME", "ANDROID_ROOT"}:
        folder = os.path.expanduser("~/.local/share/providerhub")  # noqa: PTH111 -- pathlib is slow to import, as platformdirs
    else:
        from platformdirs import user_data_dir

        folder = user_data_dir("providerhub", appauthor=False)
    return f"sqlite:///{os.path.join(folder, 'journal.db')}"  # noqa: PTH118 -- the same


def seconds(text: object, name: str = "keep") -> float:
    """Read a length of time.

    Args:
        text: A number and a unit (`m`, `h`, `d` or `w`), such as `"30d"`.
        name: The name of the setting or option, for the message.

    Raises:
        ConfigurationError: The text is something else.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([mhdw])", text.strip()) if isinstance(text, str) else None
    if found is None or not float(found[1]):
        raise ConfigurationError(f'{name} must be a length of time such as "30d", "12h" or "2w", not {text!r}')
    return float(found[1]) * _UNITS[found[2]]


def read(table: Mapping[str, Any]) -> Config:
    """Check the table `[journal]` of the settings.

    Raises:
        ConfigurationError: A key is unknown, or a value is wrong. The message names both.
    """
    unknown = sorted(set(table) - set(_KNOWN))
    if unknown:
        raise ConfigurationError(f"unknown key 'journal.{unknown[0]}'; the known ones are {', '.join(_KNOWN)}")
    for name in ("enabled", "content"):
        if not isinstance(table.get(name, False), bool):
            raise ConfigurationError(f"journal.{name} must be true or false, not {table[name]!r}")
    url = table.get("url") or ""
    url = url.reveal() if isinstance(url, Secret) else url
    if url != "" and (not isinstance(url, str) or "://" not in url):
        msg = (
            "journal.url must be an SQLAlchemy address, such as sqlite:////var/lib/app/journal.db or postgresql+psycopg://host/db"
        )
        raise ConfigurationError(msg)
    if (ledger := table.get("ledger", "database")) not in _LEDGERS:
        raise ConfigurationError(f"journal.ledger must be one of {', '.join(_LEDGERS)}, not {ledger!r}")
    redact = table.get("redact", "")
    if redact:
        redaction(redact)
    keep = table.get("keep")
    kept = None if keep is None else seconds(keep, "journal.keep")
    return Config(url, table.get("content", False), redact, kept, program(), ledger)


def redaction(name: object) -> Redact:
    """Import the function that changes rows before they are written.

    Raises:
        ConfigurationError: There is no such function.
    """
    module, _, function = name.partition(":") if isinstance(name, str) else ("", "", "")
    try:
        found = getattr(import_module(module), function)
    except (ImportError, ValueError, AttributeError) as error:
        raise ConfigurationError(f"journal.redact must be an importable 'module:function', not {name!r}: {error}") from error
    if not callable(found):
        raise ConfigurationError(f"journal.redact must name a function, and {name!r} is a {type(found).__name__}")
    return found  # type: ignore[no-any-return]
