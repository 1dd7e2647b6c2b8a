"""`providerhub plugins`, `models` and `route`: what is installed, who has what, what would happen."""

from __future__ import annotations

import fnmatch
from typing import Any

import click

from providerhub import CallerError, Candidate, Hub, ModelInfo, ProviderHubError, Skip
from providerhub._discovery import PluginRecord
from providerhub._registry import INSTALL_HINT
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
    """The shell's completion of a model's name.

    Args:
        incomplete: What has been typed so far.
    """
    try:
        with Hub() as hub:
            known = {name for _, model in _declared(hub.plugins()) for name in (model.name, *model.aliases)}
    except ProviderHubError:  # a wrong setting must not fill the prompt with an error
        return []
    return sorted(name for name in known if name.startswith(incomplete) and not name.endswith("*"))


def plugin_table(records: tuple[PluginRecord, ...]) -> None:
    """Write the table of plugins.

    Args:
        records: The plugins.
    """
    screen.table(
        ("name", "distribution", "state", "models", "import", "reason"),
        [
            (
                r.name, f"{r.distribution} {r.version}", r.state,
                ", ".join(model.name for model in r.info.models) if r.info else "",
                f"{r.import_seconds * 1000:.1f} ms" if r.import_seconds else "", r.reason,
            )
            for r in records
        ],
    )  # fmt: skip


@click.command()
@as_json
def plugins(*, as_json: bool) -> None:
    """List the installed plugins with their state."""
    with Hub() as hub:
        records, malformed = hub.plugins(), hub.malformed()
    if as_json:
        lost = [{"distribution": m.distribution, "reason": m.reason} for m in malformed]
        screen.data({"plugins": list(map(_plugin, records)), "malformed": lost})
        return
    if records:
        plugin_table(records)
    else:
        screen.line(f"No provider plugin is installed; try: {INSTALL_HINT}", err=True)
    for item in malformed:
        screen.line(f"{item.distribution} cannot be read: {item.reason}; reinstall it or uninstall it", err=True)


def _plugin(record: PluginRecord) -> dict[str, Any]:
    return {
        "name": record.name,
        "distribution": record.distribution,
        "version": record.version,
        "state": record.state,
        "reason": record.reason,
        "models": [model.name for model in record.info.models] if record.info else [],
        "import_seconds": record.import_seconds,
    }


@click.command()
@click.argument("pattern", default="")
@as_json
def models(*, pattern: str, as_json: bool) -> None:
    """List the models whose name or alias fits PATTERN: a part of a name, or all of it with * and ?."""
    with Hub() as hub:
        found = [(r, model) for r, model in _declared(hub.plugins()) if _fits(model, pattern)]
    if as_json:
        screen.data([_model(record, model) for record, model in found])
    elif found:
        columns = ("model", "provider", "state", "aliases", "can", "cannot", "context")
        screen.table(columns, [_row(record, model) for record, model in found])
    if not found:
        msg = f"no model fits {pattern!r}" if pattern else "no plugin declares a model"
        msg += "; `providerhub plugins` shows what is installed"
        raise click.ClickException(msg)


def _declared(records: tuple[PluginRecord, ...]) -> list[tuple[PluginRecord, ModelInfo]]:
    return [(record, model) for record in records if record.info for model in record.info.models]


def _fits(model: ModelInfo, pattern: str) -> bool:
    glob = pattern if any(char in pattern for char in "*?[") else f"*{pattern}*"
    return any(fnmatch.fnmatchcase(name.lower(), glob.lower()) for name in (model.name, *model.aliases))


def _having(model: ModelInfo, *, value: bool) -> str:
    return ", ".join(name for name, field in _CAPABILITIES.items() if getattr(model, field) is value)


def _row(record: PluginRecord, model: ModelInfo) -> tuple[str, ...]:
    can, cannot = _having(model, value=True), _having(model, value=False)
    window = str(model.context_window or "")
    return (model.name, record.name, record.state, ", ".join(model.aliases), can, cannot, window)


def _model(record: PluginRecord, model: ModelInfo) -> dict[str, Any]:
    return {
        "model": model.name,
        "aliases": list(model.aliases),
        "provider": record.name,
        "state": record.state,
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
