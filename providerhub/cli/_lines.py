"""Lines of input: typed in a terminal, or read from a pipe."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Sequence
from types import ModuleType

import click

Complete = Callable[[str, str], Sequence[str]]  # the line so far and its last word → the completions of that word


class Lines:
    """Reads lines, in a terminal with editing, history and completion by the tab key."""

    def __init__(self, complete: Complete) -> None:
        self.interactive = sys.stdin.isatty()
        self._editing = self.interactive and sys.stdout.isatty()
        self._encoding = sys.stdin.encoding if self.interactive else "utf-8"
        self._complete = complete
        self._offers: Sequence[str] = ()
        self._readline: ModuleType | None = None
        if self._editing:
            with contextlib.suppress(ImportError):  # Windows has no readline
                self._readline = self._prepared()

    def _prepared(self) -> ModuleType:
        import readline  # it writes to some terminals when it is imported, so not for a pipe

        readline.set_completer_delims(" ")
        readline.set_completer(self._offer)
        libedit = "libedit" in (readline.__doc__ or "")
        readline.parse_and_bind("bind ^I rl_complete" if libedit else "tab: complete")
        return readline

    def read(self, prompt: str) -> str | None:
        """Wait for a line, with a prompt in a terminal. Returns it without its end, or `None` at the end of the input.

        Raises:
            click.ClickException: The line cannot be decoded; the next call reads the next line.
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
            place = f"{error.reason} at byte {error.start + 1}"
            raise click.ClickException(f"this line is skipped, because it is not {self._encoding} text: {place}") from None

    def _offer(self, word: str, number: int) -> str | None:
        """Readline calls this with 0, 1, 2, ... until it returns `None`."""
        if number == 0:
            line = self._readline.get_line_buffer() if self._readline else ""
            self._offers = ()
            with contextlib.suppress(Exception):  # readline would print it into the line
                self._offers = self._complete(line, word)
        return self._offers[number] if number < len(self._offers) else None
