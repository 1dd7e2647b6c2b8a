"""The one line that reports an error, and its traceback with `--debug`."""

from __future__ import annotations

import traceback

import click

from providerhub import NoCapableProviderError, ProviderHubError
from providerhub.cli._screen import one_line


def _line(error: BaseException) -> str:
    text = one_line(error)
    if not isinstance(error, ProviderHubError):
        return f"{type(error).__name__}: {text}; `--debug` shows the traceback"
    if isinstance(error, NoCapableProviderError) and any(skip.reason == "no stream" for skip in error.route.skipped):
        return f"{text}; try without streaming: ask --no-stream, route without --stream"
    return text


def as_click(error: Exception, *, debug: bool) -> click.ClickException:
    """The error as click prints it; with `debug`, write its traceback to standard error.

    Raises:
        BrokenPipeError: The reader of a pipe has gone; click ends the command quietly.
    """
    if isinstance(error, BrokenPipeError) and not isinstance(error, ProviderHubError):  # a provider's error is reported
        raise error
    if debug:
        click.echo("".join(traceback.format_exception(error)), err=True, nl=False)
    return error if isinstance(error, click.ClickException) else click.ClickException(_line(error))
