"""The options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any, TypeVar

import click

from providerhub import Hub, ProviderHubError
from providerhub._calling.keywords import KEYWORDS, Keyword

Command = TypeVar("Command", bound=Callable[..., Any])


def model_names(_ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """The shell's completion of a model's name, or of an alias in the settings."""
    try:
        with Hub() as hub:
            declared = [model for view in hub.instances() for model in view.models]
            known = {name for model in declared for name in (model.name, *model.aliases)} | set(hub.settings.aliases)
    except ProviderHubError:  # a wrong setting must not put an error into the command line
        return []
    return sorted(name for name in known if name.startswith(incomplete) and not name.endswith("*"))


as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
media = click.option("--media", is_flag=True, help="Write the bytes of images and sounds into the JSON, as base64.")
model = click.option(
    "-m", "--model", required=True, shell_complete=model_names, help="Model to ask: NAME, PROVIDER/NAME or an alias."
)


def _option(name: str, keyword: Keyword) -> Callable[[Command], Command]:
    """The option of one keyword, checked as the keyword is."""

    def check(_ctx: click.Context, _parameter: click.Parameter, value: object) -> object:
        if value is not None and not keyword.check.test(value):
            raise click.BadParameter(f"must be {keyword.check.wanted}, not {value!r}")
        return value

    return click.option(
        f"--{name.replace('_', '-')}", type=keyword.option, callback=check, help=f"{keyword.text.partition('. ')[0].rstrip('.')}."
    )


_OPTIONS = tuple(_option(name, keyword) for name, keyword in KEYWORDS.items() if keyword.option)


def keywords(command: Command) -> Command:
    """Add the options that become keywords of a call."""
    return reduce(lambda decorated, option: option(decorated), reversed(_OPTIONS), command)


def given(values: dict[str, Any]) -> dict[str, Any]:
    """The options that have a value; the settings decide the others."""
    return {name: value for name, value in values.items() if value is not None}
