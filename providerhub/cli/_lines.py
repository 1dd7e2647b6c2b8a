"""The lines that a person types, or a pipe brings."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Sequence
from types import ModuleType

import click

Complete = Callable[[str, str], Sequence[str]]
"""From the line so far and the word at its end to what that word may become."""


class Lines:
    """Reads lines: from a terminal with editing and history, from a pipe as they are.

    Args:
        complete: What the tab key offers.
    """

    def __init__(self, complete: Complete) -> None:
        self.interactive = sys.stdin.isatty()
        self._editing = self.interactive and sys.stdout.isatty()
        self._readline = _readline() if self._editing else None
        self._complete = complete
        self._offers: Sequence[str] = ()
        if self._readline:
            self._readline.set_completer_delims(" ")
            self._readline.set_completer(self._offer)
            libedit = "libedit" in (self._readline.__doc__ or "")
            self._readline.parse_and_bind("bind ^I rl_complete" if libedit else "tab: complete")

    def read(self, prompt: str) -> str | None:
        """Wait for a line.

        Args:
            prompt: What a person is shown; a pipe is shown nothing.

        Returns:
            The line without its end, or `None` where the input has ended.

        Raises:
            click.ClickException: The line is not text in the input's encoding; the next one can be read.
            KeyboardInterrupt: Ctrl-C.
        """
        try:
            if self._editing:
                return input(prompt)
            if self.interactive:
                click.echo(prompt, err=True, nl=False)
            raw = sys.stdin.buffer.readline()
            return raw.decode(self._encoding).rstrip("\r\n") if raw else None
        except EOFError:
            return None
        except UnicodeDecodeError as error:
            msg = f"this line is not {self._encoding} text, and was passed over: {error.reason} at byte {error.start + 1}"
            raise click.ClickException(msg) from None

    @property
    def _encoding(self) -> str:
        return sys.stdin.encoding if self.interactive else "utf-8"

    def _offer(self, word: str, number: int) -> str | None:
        """Called by readline with 0, 1, 2, ... until there is nothing more to offer."""
        if number == 0:
            line = self._readline.get_line_buffer() if self._readline else ""
            self._offers = ()
            with contextlib.suppress(Exception):  # readline would print it into the line
                self._offers = self._complete(line, word)
        return self._offers[number] if number < len(self._offers) else None


def _readline() -> ModuleType | None:
    try:
        import readline  # noqa: PLC0415 -- for a terminal only, and not on every system
    except ImportError:
        return None
    return readline
