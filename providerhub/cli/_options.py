"""The options that several commands share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
    except ProviderHubError:  # a wrong setting must not print an error into the command line
        return []
    return sorted(name for name in known if name.startswith(incomplete) and not name.endswith("*"))


as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
media = click.option("--media", is_flag=True, help="Write the bytes of images and sounds into the JSON, as base64.")
schema = click.option("--schema", metavar="FILE|FIELDS", help="Form of the answer: a JSON schema or 'name, age int, tags str[]'.")
model_help = "Model to ask: NAME, PROVIDER/NAME or an alias; several are tried in order. Default: `models default`."
models = click.option("-m", "--model", "models", multiple=True, shell_complete=model_names, help=model_help)
system = click.option("-s", "--system", help="The system message, placed before the messages.")
_KEPT = (
    click.option("--markdown/--no-markdown", default=True, help="Whether a terminal renders Markdown."),
    click.option("-c", "--continue", "last", is_flag=True, help="Continue the conversation that was changed last."),
    click.option("--conversation", metavar="NAME", help="Continue the conversation of this name."),
    click.option("--save/--no-save", default=True, help="Whether to save the conversation, so that -c can continue it."),
    click.option("--cost", is_flag=True, help="Print tokens and cost to standard error."),
)
DEFAULT = "default"
"""The alias in the settings that stands for the default model."""


def sequence(names: Sequence[str]) -> str | list[str]:
    """The models that a call tries in order: a name, or a list of several."""
    return names[0] if len(names) == 1 else list(names)


def chosen(hub: Hub, given: Sequence[str], last: Any = None) -> Any:
    """The model to ask: the models of the command line, or of the conversation, or the default model."""
    if given:
        return sequence(given)
    if last is not None:
        return last
    if DEFAULT not in hub.settings.aliases:
        ready = (model for view in hub.instances() if view.state == "ready" for model in view.models if not model.is_prefix)
        name = next((model.name for model in ready), "MODEL")
        raise click.UsageError(f"no model is named; add -m {name}, or set a default one: providerhub models default {name}")
    return DEFAULT


def check(hub: Hub, model: Any, messages: Any = "?", *, stream: bool = False, **call: Any) -> None:
    """Raise the error of a call that no provider can serve, such as for an unknown model. Services may be asked for models."""
    hub._candidates(hub._spec(model, messages, stream=stream, **call))  # noqa: SLF001 -- `explain` asks no service


def _option(name: str, keyword: Keyword) -> Callable[[Command], Command]:
    """The option of one keyword, with the keyword's check."""

    def check(_ctx: click.Context, _parameter: click.Parameter, value: object) -> object:
        if value is not None and not keyword.check.test(value):
            raise click.BadParameter(f"must be {keyword.check.wanted}, not {value!r}")
        return value

    text = f"{keyword.text.partition('. ')[0].rstrip('.')}."
    return click.option(f"--{name.replace('_', '-')}", type=keyword.option, callback=check, help=text)


_OPTIONS = tuple(_option(name, keyword) for name, keyword in KEYWORDS.items() if keyword.option and name != "system")


def talking(command: Command) -> Command:
    """Add the options of a command that asks: the model, the keywords of the call, and the conversation."""
    return reduce(lambda decorated, option: option(decorated), reversed((models, system, *_OPTIONS, *_KEPT)), command)


def given(values: dict[str, Any]) -> dict[str, Any]:
    """The options that are keywords of a call and have a value."""
    return {name: value for name, value in values.items() if name in KEYWORDS and value is not None}
