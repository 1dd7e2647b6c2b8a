"""`providerhub plugins`, `models` and `route`: what is installed, who has what, what would happen."""

from __future__ import annotations

import fnmatch
from typing import Any

import click

from providerhub import CallerError, Candidate, Hub, InstanceView, ModelInfo, ProviderHubError, Skip
from providerhub._finding.registry import INSTALL_HINT
from providerhub.cli import _screen as screen

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")

_CAPABILITIES = {
    "stream": "supports_stream",
    "tools": "supports_tools",
    "images": "supports_images",
    "json_schema": "supports_json_schema",
    "prefill": "supports_prefill",
}
_TOOL = {
    "type": "function",
    "function": {"name": "example", "parameters": {"type": "object", "properties": {}}},
}
_PIXEL = {"type": "image_url", "image_url": {"url": "data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAAC"}}


def model_names(_ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """The shell's completion of a model's name, or of an alias in the settings.

    Args:
        incomplete: What has been typed so far.
    """
    try:
        with Hub() as hub:
            known = {name for _, model in _declared(hub.instances()) for name in (model.name, *model.aliases)}
            known.update(hub.settings.aliases)
    except ProviderHubError:  # a wrong setting must not fill the prompt with an error
        return []
    return sorted(name for name in known if name.startswith(incomplete) and not name.endswith("*"))


def plugin_table(instances: tuple[InstanceView, ...]) -> None:
    """Write the table of providers.

    Args:
        instances: The providers.
    """
    screen.table(
        ("name", "distribution", "state", "models", "import", "reason"),
        [
            (
                view.name, f"{view.distribution} {view.version}", view.state, ", ".join(model.name for model in view.models),
                f"{view.import_seconds * 1000:.1f} ms" if view.import_seconds else "", _reason(view),
            )
            for view in instances
        ],
    )  # fmt: skip


def _reason(view: InstanceView) -> str:
    """Why it is not ready, and what is odd about it; of a further instance, what it is an instance of."""
    of = [f"an instance of {view.plugin}"] if view.plugin != view.name else []
    return "; ".join(filter(None, (*of, view.reason, *(note for note in view.notes if note not in view.reason))))


@click.command()
@as_json
def plugins(*, as_json: bool) -> None:
    """List the providers, installed and configured, with their state."""
    with Hub() as hub:
        instances, malformed = hub.instances(), hub.malformed()
    if as_json:
        lost = [{"distribution": m.distribution, "reason": m.reason} for m in malformed]
        screen.data({"plugins": list(map(_plugin, instances)), "malformed": lost})
        return
    if instances:
        plugin_table(instances)
    else:
        screen.line(f"No provider plugin is installed; try: {INSTALL_HINT}", err=True)
    for item in malformed:
        screen.line(f"{item.distribution} cannot be read: {item.reason}; reinstall it or uninstall it", err=True)


def _plugin(view: InstanceView) -> dict[str, Any]:
    return {
        "name": view.name,
        "plugin": view.plugin,
        "distribution": view.distribution,
        "version": view.version,
        "state": view.state,
        "reason": view.reason,
        "notes": list(view.notes),
        "missing": list(view.missing),
        "models": [model.name for model in view.models],
        "import_seconds": view.import_seconds,
    }


@click.command()
@click.argument("pattern", default="")
@click.option("--refresh", is_flag=True, help="First ask the providers that can list their models.")
@as_json
def models(*, pattern: str, refresh: bool, as_json: bool) -> None:
    """List the models whose name or alias fits PATTERN: a part of a name, or all of it with * and ?."""
    with Hub() as hub, screen.unlogged():
        if refresh:
            hub.refresh()
        instances = hub.instances()
    found = [(view, model) for view, model in _declared(instances) if _fits(model, pattern)]
    if as_json:
        screen.data([_model(view, model) for view, model in found])
    elif found:
        columns = ("model", "provider", "state", "aliases", "can", "cannot", "context")
        screen.table(columns, [_row(view, model) for view, model in found])
    silent = [view for view in instances if view.list_error]
    for view in silent:
        screen.line(f"{view.name} could not list its models: {view.list_error}", err=True)
    if not found:
        msg = f"no model fits {pattern!r}" if pattern else "no provider declares a model"
        msg += "" if refresh else "; --refresh asks the providers that can list theirs" if _can_list(instances) else ""
        msg += "; `providerhub plugins` shows what is installed"
        raise click.ClickException(msg)
    if silent:
        raise click.exceptions.Exit(1)


def _can_list(instances: tuple[InstanceView, ...]) -> bool:
    return any(view.can_list and view.state == "ready" for view in instances)


def _declared(instances: tuple[InstanceView, ...]) -> list[tuple[InstanceView, ModelInfo]]:
    return [(view, model) for view in instances for model in view.models]


def _fits(model: ModelInfo, pattern: str) -> bool:
    glob = pattern if any(char in pattern for char in "*?[") else f"*{pattern}*"
    return any(fnmatch.fnmatchcase(name.lower(), glob.lower()) for name in (model.name, *model.aliases))


def _having(model: ModelInfo, *, value: bool) -> str:
    return ", ".join(name for name, field in _CAPABILITIES.items() if getattr(model, field) is value)


def _row(view: InstanceView, model: ModelInfo) -> tuple[str, ...]:
    can, cannot = _having(model, value=True), _having(model, value=False)
    window = str(model.context_window or "")
    return (model.name, view.name, view.state, ", ".join(model.aliases), can, cannot, window)


def _model(view: InstanceView, model: ModelInfo) -> dict[str, Any]:
    return {
        "model": model.name,
        "aliases": list(model.aliases),
        "provider": view.name,
        "state": view.state,
        **{name: getattr(model, field) for name, field in _CAPABILITIES.items()},
        "context_window": model.context_window,
    }


@click.command()
@click.argument("model", shell_complete=model_names)
@click.option("--stream", is_flag=True, help="For an answer in pieces.")
@click.option("--tools", is_flag=True, help="For a request with tools.")
@click.option("--image", is_flag=True, help="For a request with an image.")
@as_json
def route(*, model: str, stream: bool, tools: bool, image: bool, as_json: bool) -> None:
    """Show what would be tried for MODEL, in order, and what is left out and why. Sends nothing."""
    content: Any = [{"type": "text", "text": "?"}, _PIXEL] if image else "?"
    with Hub() as hub:
        try:
            messages = [{"role": "user", "content": content}]
            plan = hub.explain(model, messages, stream=stream, tools=[_TOOL] if tools else None)
        except CallerError as error:
            if as_json:
                screen.data({**_plan((), error.route.skipped), "error": screen.one_line(error)})
            raise
    if as_json:
        screen.data(_plan(plan.candidates, plan.skipped))
    else:
        screen.line(str(plan))


def _plan(candidates: tuple[Candidate, ...], skipped: tuple[Skip, ...]) -> dict[str, Any]:
    return {
        "candidates": [
            {"provider": c.provider, "model": c.model, "match": c.match, "context_window": c.context_window} for c in candidates
        ],
        "skipped": [{"provider": s.provider, "model": s.model, "reason": s.reason, "detail": s.detail} for s in skipped],
    }
