"""How an error ends a command: one line that names the fix, and the traceback for whoever asks."""

from __future__ import annotations

import traceback

import click

from providerhub import NoCapableProviderError, ProviderHubError
from providerhub.cli._screen import one_line


def line(error: BaseException) -> str:
    """What a person reads of an error.

    Args:
        error: Ours, or a bug's.
    """
    text = one_line(error)
    if not isinstance(error, ProviderHubError):
        return f"{type(error).__name__}: {text}; `--debug` shows the traceback"
    if isinstance(error, NoCapableProviderError) and any(skip.reason == "no stream" for skip in error.route.skipped):
        return f"{text}; without streaming they can be asked: ask --no-stream, route without --stream"
    return text


def as_click(error: Exception, *, debug: bool) -> Exception:
    """The error that click ends a command with.

    Args:
        error: What a command raised.
        debug: Write its traceback to standard error first.

    Returns:
        A `click.ClickException`; or the error itself where a reader went away, which click ends quietly.
    """
    if isinstance(error, BrokenPipeError) and not isinstance(error, ProviderHubError):  # a provider's would be a failure
        return error
    if debug:
        click.echo("".join(traceback.format_exception(error)), err=True, nl=False)
    return click.ClickException(line(error))
