"""`providerhub models`."""

from __future__ import annotations

import fnmatch
from typing import Any

import click

from providerhub import Hub, ModelInfo
from providerhub.cli import _options as options
from providerhub.cli import _screen as screen

_CAPABILITIES = {
    "stream": "supports_stream",
    "tools": "supports_tools",
    "images": "supports_images",
    "json_schema": "supports_json_schema",
    "prefill": "supports_prefill",
}
_COLUMNS = ("model", "provider", "state", "aliases", "can", "cannot", "context")


@click.command()
@click.argument("pattern", default="")
@click.option("--refresh", is_flag=True, help="First ask the providers' services for their models.")
@options.as_json
def models(*, pattern: str, refresh: bool, as_json: bool) -> None:
    """List the models with a name or alias that matches PATTERN: a part of the name, or a whole name with * and ?."""
    with Hub() as hub, screen.unlogged():
        if refresh:
            hub.refresh()
        instances = hub.instances()
    found = [_record(view.name, view.state, model) for view in instances for model in view.models if _fits(model, pattern)]
    if as_json:
        screen.data(found)
    elif found:
        screen.table(_COLUMNS, list(map(_row, found)))
    failed = [view for view in instances if view.list_error]
    for view in failed:
        screen.line(f"{view.name} could not list its models: {view.list_error}", err=True)
    if not found:
        text = f"no model matches {pattern!r}" if pattern else "no provider declares a model"
        if not refresh and any(view.can_list and view.state == "ready" for view in instances):
            text += "; --refresh asks the providers that can list their models"
        raise click.ClickException(f"{text}; `providerhub plugins` shows the installed plugins")
    if failed:
        raise click.exceptions.Exit(1)


def _fits(model: ModelInfo, pattern: str) -> bool:
    glob = pattern if any(char in pattern for char in "*?[") else f"*{pattern}*"
    return any(fnmatch.fnmatchcase(name.lower(), glob.lower()) for name in (model.name, *model.aliases))


def _record(provider: str, state: str, model: ModelInfo) -> dict[str, Any]:
    return {
        "model": model.name,
        "aliases": list(model.aliases),
        "provider": provider,
        "state": state,
        **{name: getattr(model, field) for name, field in _CAPABILITIES.items()},
        "context_window": model.context_window,
    }


def _row(record: dict[str, Any]) -> tuple[str, ...]:
    can, cannot = (", ".join(name for name in _CAPABILITIES if record[name] is value) for value in (True, False))
    window = str(record["context_window"] or "")
    return record["model"], record["provider"], record["state"], ", ".join(record["aliases"]), can, cannot, window
