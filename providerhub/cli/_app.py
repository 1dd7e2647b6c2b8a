"""The command group. It knows its commands by name only, so that help and completion import neither them nor the core."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import click

from providerhub._version import __version__

COMMANDS = {
    "ask": ("providerhub.cli._ask:ask", "Ask a model for an answer."),
    "chat": ("providerhub.cli._chat:chat", "Talk with a model, in a terminal or a pipe."),
    "batch": ("providerhub.cli._batch:batch", "Send many requests from a file; goes on after a kill."),
    "demo": ("providerhub.cli._demo:demo", "Watch a call fail at one provider and be answered by the next."),
    "plugins": ("providerhub.cli._plugins:plugins", "List the installed plugins with their state."),
    "models": ("providerhub.cli._models:models", "List the models, and who serves them."),
    "route": ("providerhub.cli._route:route", "Show what would be tried for a model, and why."),
    "settings": ("providerhub.cli._settings:settings", "Show and check the settings."),
    "doctor": ("providerhub.cli._doctor:doctor", "Find what keeps providers from working, and how to mend it."),
    "conformance": ("providerhub.cli._conformance:conformance", "Check that an installed plugin keeps its promises."),
    "new-plugin": ("providerhub.cli._new_plugin:new_plugin", "Write the project of a plugin of your own."),
}
"""Each command's `module:function`, and its line in the overview: the order is the overview's."""

FAILURES = "providerhub.cli._failures:as_click"
DEBUG = "providerhub.debug"


def loaded(target: str) -> Any:
    """Import what only a command that runs needs.

    Args:
        target: `module:name`.
    """
    module, _, name = target.partition(":")
    return getattr(import_module(module), name)


def _remember(ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:  # noqa: FBT001 -- click calls it
    ctx.meta[DEBUG] = value or ctx.meta.get(DEBUG, False)


def _debug_option() -> click.Option:
    return click.Option(
        ["--debug"], is_flag=True, expose_value=False, callback=_remember, help="Show the traceback of an error."
    )  # fmt: skip


def _with_debug(command: click.Command) -> click.Command:
    """Let `--debug` stand behind the command too, where one adds it after an error; commands of a group included."""
    if not any(parameter.name == "debug" for parameter in command.params):
        command.params.append(_debug_option())
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            _with_debug(inner)
    return command


class Lazy(click.Group):
    """A group that imports a command when it runs, and ends it with one line for an error and none for Ctrl-C."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 -- click's signature
        """The commands' names, in the overview's order.

        Args:
            ctx: Click's context.
        """
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 -- the same
        """What the overview and the completion of names need of a command.

        Args:
            ctx: Click's context.
            cmd_name: Its name.
        """
        return click.Command(cmd_name, short_help=COMMANDS[cmd_name][1]) if cmd_name in COMMANDS else None

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """The command itself, imported.

        Args:
            ctx: Click's context.
            args: The words behind the group's own options.
        """
        name, command, rest = super().resolve_command(ctx, args)
        return name, _with_debug(loaded(COMMANDS[name][0])) if name and command else command, rest

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
        except Exception as error:
            raise loaded(FAILURES)(error, debug=ctx.meta.get(DEBUG, False)) from error


@click.group(cls=Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="providerhub")
def app() -> None:
    """Call language models through the provider plugins that are installed."""


_with_debug(app)
