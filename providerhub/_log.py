"""The logger `providerhub`. Its first use imports `logging`, which takes some milliseconds, and most calls log nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import logging


class _Log:
    """Has the methods of the logger."""

    def __getattr__(self, name: str) -> Any:
        import logging

        return getattr(logging.getLogger("providerhub"), name)


log: logging.Logger = _Log()  # type: ignore[assignment]  # it has all its methods
