"""The command group, and how errors end it."""

from __future__ import annotations

import traceback
from typing import Any

import click

from providerhub import NoCapableProviderError, ProviderHubError, __version__
from providerhub.cli._ask import ask
from providerhub.cli._demo import demo
from providerhub.cli._screen import one_line
from providerhub.cli._show import models, plugins, route


class Guarded(click.Group):
    """A group whose commands end with one line for an error, and without any for Ctrl-C."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that was asked for.

        Args:
            ctx: Click's context.

        Raises:
            click.ClickException: The command failed; click prints the line and exits with 1.
            click.exceptions.Exit: Ctrl-C; the exit code is 130, as a shell gives it.
        """
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise click.exceptions.Exit(130) from None
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except BrokenPipeError as error:
            raise _unless_ours(error, ctx) from None
        except Exception as error:
            raise _failure(error, ctx) from error


def _unless_ours(error: BrokenPipeError, ctx: click.Context) -> Exception:
    """A reader that went away ends the command quietly, by click; a provider that did so is a failure."""
    return _failure(error, ctx) if isinstance(error, ProviderHubError) else error


def _failure(error: Exception, ctx: click.Context) -> click.ClickException:
    if ctx.params.get("debug"):
        click.echo("".join(traceback.format_exception(error)), err=True, nl=False)
    text = one_line(error)
    if not isinstance(error, ProviderHubError):
        text = f"{type(error).__name__}: {text}; `providerhub --debug COMMAND` shows the traceback"
    elif isinstance(error, NoCapableProviderError) and any(skip.reason == "no stream" for skip in error.route.skipped):
        text += "; without streaming they can be asked: ask --no-stream, route without --stream"
    return click.ClickException(text)


@click.group(cls=Guarded, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.version_option(__version__, prog_name="providerhub")
def app(*, debug: bool) -> None:
    """Call language models through the provider plugins that are installed."""


for command in (ask, demo, plugins, models, route):
    app.add_command(command)
