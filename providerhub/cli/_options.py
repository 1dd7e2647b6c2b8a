"""The options that the commands which ask a model share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from providerhub import Message
from providerhub._calling.keywords import KEYWORDS, Keyword
from providerhub.cli._app import loaded

Command = TypeVar("Command", bound=Callable[..., Any])


def model_names(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """The shell's completion of a model's name; what lists them is imported when it is wanted.

    Args:
        ctx: Click's context.
        parameter: The option or argument.
        incomplete: What has been typed so far.
    """
    names: list[str] = loaded("providerhub.cli._show:model_names")(ctx, parameter, incomplete)
    return names


model = click.option("-m", "--model", required=True, shell_complete=model_names, help="NAME, or PROVIDER/NAME.")


def _option(name: str, keyword: Keyword) -> Callable[[Command], Command]:
    """The option of one keyword, checked as the keyword is."""

    def check(_ctx: click.Context, _parameter: click.Parameter, value: object) -> object:
        if value is not None and not keyword.check.test(value):
            msg = f"must be {keyword.check.wanted}, not {value!r}"
            raise click.BadParameter(msg)
        return value

    return click.option(f"--{name.replace('_', '-')}", type=keyword.option, callback=check, help=keyword.text)


_KNOBS = (
    click.option("--system", metavar="TEXT", help="The system message: how the model is to behave."),
    *(_option(name, keyword) for name, keyword in KEYWORDS.items() if keyword.option),
)


def knobs(command: Command) -> Command:
    """Add the options that become keywords of a call, and `--system`.

    Args:
        command: The command's function.
    """
    for option in reversed(_KNOBS):
        command = option(command)
    return command


def given(values: dict[str, Any]) -> dict[str, Any]:
    """The keywords of a call: what is not given is left to the settings.

    Args:
        values: The options' values by name.
    """
    return {name: value for name, value in values.items() if value is not None}


def opening(system: str | None) -> list[Message]:
    """What a conversation begins with.

    Args:
        system: The system message, if there is one.
    """
    return [{"role": "system", "content": system}] if system else []
