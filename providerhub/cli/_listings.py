"""`providerhub plugins`, `models` and `route`: what is installed, and the plan of a call."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Sequence
from typing import Any

import attrs
import click

from providerhub import CallerError, Candidate, Hub, InstanceView, ModelInfo, Settings, Skip
from providerhub._finding.registry import INSTALL_HINT
from providerhub.cli import _options as options
from providerhub.cli import _screen as screen

_FEW = 3  # providers of a distribution that have lines of their own although they are not configured
_COLUMNS = ("name", "distribution", "state", "models", "import", "reason")
_MOST_MODELS = 4  # that a row of the table names; `providerhub models` and --json show all
_FIELDS = ("name", "plugin", "distribution", "version", "state", "reason")
_CANDIDATE = attrs.filters.include("provider", "model", "match", "context_window")
_CAPABILITIES = {
    "stream": "supports_stream",
    "tools": "supports_tools",
    "images": "supports_images",
    "audio": "supports_audio",
    "files": "supports_files",
    "json_schema": "supports_json_schema",
    "prefill": "supports_prefill",
}
_TOOL = {"type": "function", "function": {"name": "example", "parameters": {"type": "object", "properties": {}}}}
_PIXEL = {"type": "image_url", "image_url": {"url": "data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAAC"}}


def record(view: InstanceView, *more: str) -> dict[str, object]:
    """A provider as JSON, with `more` attributes than the usual ones."""
    return {**screen.picked(view, *_FIELDS, *more), "models": _models(view)}


def table(instances: Iterable[InstanceView], settings: Settings) -> None:
    """Write the table of providers."""
    shown, folds = folded(instances, settings)
    if shown:
        screen.table(_COLUMNS, [_row(view) for view in shown])
    for distribution, text in folds.items():
        screen.line(f"{distribution}: {text}")


def folded(instances: Iterable[InstanceView], settings: Settings) -> tuple[list[InstanceView], dict[str, str]]:
    """Put the providers of one distribution together that are not configured, if they are many and not in the settings.

    Returns:
        The other providers; and for each such distribution one line with the names, and the variables to set.
    """
    instances = list(instances)
    idle: dict[str, list[InstanceView]] = {}
    for view in instances:
        if view.state == "not configured" and view.name not in settings.providers:
            idle.setdefault(view.distribution, []).append(view)
    many = {distribution: views for distribution, views in idle.items() if len(views) > _FEW}
    hidden = {view.name for views in many.values() for view in views}
    texts = {
        distribution: f"{len(views)} providers are not configured; set the variable of one that you use: "
        + ", ".join(f"{view.name} ({view.missing[0]})" for view in views)
        for distribution, views in many.items()
    }
    return [view for view in instances if view.name not in hidden], texts


def _row(view: InstanceView) -> tuple[str, ...]:
    seconds = f"{view.import_seconds * 1000:.1f} ms" if view.import_seconds else ""
    plugin = [f"an instance of {view.plugin}"] if view.plugin != view.name else []
    notes = [note for note in view.notes if note not in view.reason]
    reason = "; ".join(filter(None, [*plugin, view.reason, *notes]))
    shown = _models(view)
    if len(shown) > _MOST_MODELS:
        shown[_MOST_MODELS:] = [f"and {len(shown) - _MOST_MODELS} more"]
    return view.name, f"{view.distribution} {view.version}", view.state, ", ".join(shown), seconds, reason


def _models(view: InstanceView) -> list[str]:
    return [model.name for model in view.models]


@click.command()
@options.as_json
def plugins(*, as_json: bool) -> None:
    """List the installed and configured providers with their state."""
    with Hub() as hub:
        instances, malformed, settings = hub.instances(), hub.malformed(), hub.settings
    if as_json:
        found = [record(view, "notes", "missing", "import_seconds") for view in instances]
        screen.data({"plugins": found, "malformed": [screen.picked(item, "distribution", "reason") for item in malformed]})
        return
    if instances:
        table(instances, settings)
    else:
        screen.line(f"No provider plugin is installed; try: {INSTALL_HINT}", err=True)
    for item in malformed:
        screen.line(f"{item.distribution} cannot be used: {item.reason}; reinstall or uninstall it", err=True)


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
    found = [_model_record(view.name, view.state, model) for view in instances for model in view.models if _fits(model, pattern)]
    if as_json:
        screen.data(found)
    elif found:
        screen.table(("model", "provider", "state", "aliases", "can", "cannot", "context"), list(map(_model_row, found)))
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


def _model_record(provider: str, state: str, model: ModelInfo) -> dict[str, Any]:
    return {
        "model": model.name,
        "aliases": list(model.aliases),
        "provider": provider,
        "state": state,
        **{name: getattr(model, field) for name, field in _CAPABILITIES.items()},
        "context_window": model.context_window,
    }


def _model_row(record: dict[str, Any]) -> tuple[str, ...]:
    can, cannot = (", ".join(name for name in _CAPABILITIES if record[name] is value) for value in (True, False))
    window = str(record["context_window"] or "")
    return record["model"], record["provider"], record["state"], ", ".join(record["aliases"]), can, cannot, window


@click.command()
@click.argument("model", shell_complete=options.model_names)
@click.option("--stream", is_flag=True, help="Plan for a streaming call.")
@click.option("--tools", is_flag=True, help="Plan for a request with tools.")
@click.option("--image", is_flag=True, help="Plan for a request with an image.")
@options.as_json
def route(*, model: str, stream: bool, tools: bool, image: bool, as_json: bool) -> None:
    """Show the candidates for MODEL in order, and those left out with the reason. Send nothing."""
    messages: list[Any] = [{"role": "user", "content": [{"type": "text", "text": "?"}, _PIXEL] if image else "?"}]
    with Hub() as hub:
        try:
            plan = hub.explain(model, messages, stream=stream, tools=[_TOOL] if tools else None)
        except CallerError as error:
            if as_json:
                screen.data({**_plan((), error.route.skipped), "error": screen.one_line(error)})
            raise
    if as_json:
        screen.data(_plan(plan.candidates, plan.skipped, plan.waits))
    else:
        screen.line(plan)


def _plan(candidates: Sequence[Candidate], skipped: Sequence[Skip], waits: Sequence[Skip] = ()) -> dict[str, Any]:
    """The candidates of a call in order, those that are left out, and those for which a call would wait."""
    return {
        "candidates": [attrs.asdict(candidate, filter=_CANDIDATE) for candidate in candidates],
        "skipped": list(map(attrs.asdict, skipped)),
        "waits": list(map(attrs.asdict, waits)),
    }
