"""A journal of the calls of providerhub in a database, and budgets that processes share."""

from collections.abc import Callable
from typing import Any

from providerhub_journal._joining import providerhub_conversation, providerhub_gate, providerhub_join

__all__ = ["flush", "providerhub_conversation", "providerhub_gate", "providerhub_join"]


def __getattr__(name: str) -> Callable[..., Any]:
    if name != "flush":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from providerhub_journal._worker import flush  # few programs call it

    return flush
