"""The command group. It knows only the names of its commands, so that help and completion import no command and not the core.

Other distributions add commands: entry-point group `providerhub.commands`, a name → `module:command`. The metadata of the
installed distributions is read for the overview.
"""

from __future__ import annotations

import contextlib
import os
from typing import Any, NamedTuple

import click

from providerhub._finding.installed import OURS, import_object, in_group
from providerhub._version import __version__

GROUP = "providerhub.commands"


class Extension(NamedTuple):
    """A command of an entry point. Unusable if several distributions have a command of this name."""

    name: str
    target: str
    distributions: tuple[str, ...]

    @property
    def line(self) -> str:
        """The command's line in the overview."""
        return f"Unusable: {self._conflict}." if self._conflict else f"Added by {self.distributions[0]}."

    @property
    def _conflict(self) -> str:
        several = len(self.distributions) > 1
        return f"offered by {' and '.join(self.distributions)}; uninstall one of them" if several else ""

    def command(self) -> click.Command:
        """Import the command; raises `PluginError` if it cannot be used."""
        reason, cause = self._conflict, None
        if not reason:
            try:
                found = import_object(self.target)
                if isinstance(found, click.Command):
                    return found
                reason = f"{self.target} is not a click command, but of type {type(found).__name__}"
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # a distribution may raise anything at import, SystemExit included
                reason, cause = f"importing {self.target} raised {type(error).__name__}: {error}", error
        from providerhub import PluginError  # the help must not wait for the core

        owner = self.distributions[0]
        raise PluginError(f"the command {self.name!r} of {owner} cannot be used: {reason}", plugin=owner) from cause


def extensions() -> dict[str, Extension]:
    """List the commands that the installed distributions add, by name."""
    offered: dict[str, dict[str, str]] = {}
    for entry in in_group(GROUP):
        offered.setdefault(entry.name, {})[entry.distribution] = entry.value
    return {name: Extension(name, next(iter(by.values())), tuple(sorted(by))) for name, by in sorted(offered.items())}


COMMANDS = {
    "ask": ("providerhub.cli._ask:ask", "Ask a model for an answer."),
    "chat": ("providerhub.cli._chat:chat", "Talk with a model, in a terminal or a pipe."),
    "chats": ("providerhub.cli._chats:chats", "List and remove saved conversations."),
    "batch": ("providerhub.cli._batch:batch", "Send many requests from a file; continues after a crash."),
    "demo": ("providerhub.cli._demo:demo", "Show a call that one provider fails and the next answers."),
    "plugins": ("providerhub.cli._listings:plugins", "List the installed plugins with their state."),
    "models": ("providerhub.cli._listings:models", "List the models; `models default` sets the default."),
    "route": ("providerhub.cli._listings:route", "Show the providers that a call would try, and why."),
    "keys": ("providerhub.cli._keys:keys", "Keep the keys of providers, and show where they are."),
    "settings": ("providerhub.cli._settings:settings", "Show and check the settings."),
    "doctor": ("providerhub.cli._doctor:doctor", "Find the mistakes in providers and settings, with fixes."),
}
"""The core's commands: `module:function` and the line in the overview, in the overview's order."""

DEBUG = "providerhub.debug"
JSON = "providerhub.json"
ADDED = "providerhub.added"


def _remember(ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:  # noqa: FBT001 -- click calls it
    ctx.meta[DEBUG] = value or ctx.meta.get(DEBUG, False)


def _with_debug(command: click.Command) -> click.Command:
    """Accept `--debug` after the command too, also in the commands of a group."""
    if not any(parameter.name == "debug" for parameter in command.params):
        text = "Show the traceback of an error."
        command.params.append(click.Option(["--debug"], is_flag=True, expose_value=False, callback=_remember, help=text))
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            _with_debug(inner)
    return command


def _added(ctx: click.Context) -> dict[str, Extension]:
    """The commands of other distributions, read once. They cannot override the core's names."""
    if ADDED not in ctx.meta:
        ctx.meta[ADDED] = {name: extension for name, extension in extensions().items() if name not in COMMANDS}
    found: dict[str, Extension] = ctx.meta[ADDED]
    return found


class Lazy(click.Group):
    """A group that imports a command when it runs. An error is printed as one line; Ctrl-C prints nothing."""

    def get_help(self, ctx: click.Context) -> str:
        """Write the overview. Click would import shutil for the width of the terminal, and with it four archive formats."""
        columns = 80
        with contextlib.suppress(OSError, ValueError):
            columns = int(os.environ.get("COLUMNS") or 0) or os.get_terminal_size(1).columns or 80
        ctx.terminal_width = ctx.terminal_width or max(min(columns, 80) - 2, 50)  # the bounds of click
        return super().get_help(ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """List the names of the commands: the core's in the overview's order, then the added ones."""
        return [*COMMANDS, *_added(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a stand-in with the help line, for the overview and the completion of names."""
        if cmd_name in COMMANDS:
            return click.Command(cmd_name, short_help=COMMANDS[cmd_name][1])
        return click.Command(cmd_name, short_help=_added(ctx)[cmd_name].line) if cmd_name in _added(ctx) else None

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """Import the command that the arguments name."""
        ctx.meta[JSON] = "--json" in args[: args.index("--")] if "--" in args else "--json" in args
        if args[0] not in COMMANDS and args[0] not in _added(ctx) and not ctx.resilient_parsing:
            if args[0] in OURS["commands"]:
                owner = f"providerhub-{OURS['commands'][args[0]]}"
                ctx.fail(f"The command {args[0]!r} is in another distribution: pip install {owner}")
            self.commands = {name: click.Command(name) for name in self.list_commands(ctx)}  # for the hint in click's error
        name, command, rest = super().resolve_command(ctx, args)
        if name in COMMANDS:
            command = _with_debug(import_object(COMMANDS[name][0]))
        elif name in _added(ctx):
            with contextlib.suppress(*[Exception] * ctx.resilient_parsing):  # an error would spoil the completion
                command = _with_debug(_added(ctx)[name].command())
        return name, command, rest

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command. Ctrl-C exits with 130; another error becomes one line (with `--json`, an object too), and 1 or 2."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise click.exceptions.Exit(130) from None
        except (click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:
            as_json, debug = ctx.meta.get(JSON, False), ctx.meta.get(DEBUG, False)
            if isinstance(error, click.ClickException) and not as_json:
                raise
            raise import_object("providerhub.cli._screen:as_click")(error, debug=debug, as_json=as_json) from error


@click.group(cls=Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="providerhub")
def app() -> None:
    """Call language models through the installed provider plugins."""


_with_debug(app)
