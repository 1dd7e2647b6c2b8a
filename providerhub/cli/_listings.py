"""`providerhub plugins`, `models` and `route`: the installed plugins, their models, and the plan of a call."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs
import click

from providerhub import Hub, InstanceView, ModelInfo, ModelNotFoundError, ProviderHubError, RoutePlan, Settings
from providerhub._finding.installed import INSTALL_HINT
from providerhub.cli import _edit as edit
from providerhub.cli import _options as options
from providerhub.cli import _screen as screen

_MOST = 4  # the most models or vendors in a row; `providerhub models`, `plugins -v` and --json show all
_UNLISTED = "not listed yet; `providerhub models --refresh` asks the service"
_FIELDS = ("name", "plugin", "distribution", "version", "state", "reason")
_CANDIDATE = attrs.filters.include("provider", "model", "match", "context_window")
_NAMES = ("stream", "tools", "images", "audio", "files", "json_schema", "reasoning", "embeddings", "prefill")
CAPABILITIES = {name: f"supports_{name}" for name in _NAMES}
_PRICES = ("price_in", "price_out", "price_cache_read", "price_cache_write", "price_currency")
_TOOL = {"type": "function", "function": {"name": "example", "parameters": {"type": "object", "properties": {}}}}
_PIXEL = {"type": "image_url", "image_url": {"url": "data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAAC"}}


def record(view: InstanceView, *more: str) -> dict[str, object]:
    return {**screen.picked(view, *_FIELDS, *more), "models": _models(view)}


def table(instances: Iterable[InstanceView], settings: Settings, *, verbose: bool = False) -> None:
    """Write the table of providers, one per row. Providers that are not configured share a row for each distribution."""
    if verbose:
        screen.table(("name", "state", "import", "distribution", "models and notes"), list(map(_long_row, instances)))
        return
    shown, folds = folded(instances, settings)
    if shown:
        rows = [(view.name, view.state, view.reason or _few(_models(view)) or _UNLISTED) for view in shown]
        screen.table(("name", "state", "models"), rows)
    idle_table(folds)


def idle_table(folds: Mapping[str, str]) -> None:
    """Write the distributions with providers that are not configured, with the variables that configure them."""
    if folds:
        screen.heading("To call one of these, set its variables; `providerhub keys set NAME` keeps a key or a token:")
        screen.table(("distribution", "provider and variables"), list(folds.items()))


def described(view: InstanceView) -> str:
    return f"{view.name} ({_few(_models(view)) or 'its models are not listed yet'})"


def is_untouched(view: InstanceView, settings: Settings) -> bool:
    """Whether a provider needs no settings and has none, so that it may or may not work."""
    is_set = view.name in settings.providers or (view.config is not None and view.config.api_key is not None)
    return not is_set and not view.models and not any(setting.required for setting in view.settings)


def folded(instances: Iterable[InstanceView], settings: Settings) -> tuple[list[InstanceView], dict[str, str]]:
    """The configured providers; and for each distribution the other providers, with the variables to set."""
    shown: list[InstanceView] = []
    idle: dict[str, list[str]] = {}
    for view in sorted(instances, key=lambda view: len(view.missing)):
        if view.state == "not configured" and view.name not in settings.providers:
            idle.setdefault(view.distribution, []).append(f"{view.name} ({', '.join(view.missing)})")
        else:
            shown.append(view)
    return shown, {distribution: _few(idle[distribution]) for distribution in sorted(idle, key=lambda one: len(idle[one]))}


def _few(names: Sequence[str]) -> str:
    rest = [f"and {len(names) - _MOST} more"] if len(names) > _MOST else []
    return ", ".join([*names[:_MOST], *rest])


def _long_row(view: InstanceView) -> tuple[str, ...]:
    seconds = f"{view.import_seconds * 1000:.1f} ms" if view.import_seconds else ""
    plugin = [f"an instance of {view.plugin}"] if view.plugin != view.name else []
    notes = [note for note in view.notes if note not in view.reason]
    text = "; ".join(filter(None, [*plugin, view.reason, *notes, ", ".join(_models(view))]))
    return view.name, view.state, seconds, f"{view.distribution} {view.version}", text


def _models(view: InstanceView) -> list[str]:
    return [model.name for model in view.models]


@click.command()
@click.option("-v", "--verbose", is_flag=True, help="Show each provider with its distribution, models and import.")
@options.as_json
def plugins(*, verbose: bool, as_json: bool) -> None:
    """List the installed and configured providers with their state."""
    with Hub() as hub:
        instances, malformed, settings = hub.instances(), hub.malformed(), hub.settings
    if as_json:
        found = [record(view, "notes", "missing", "import_seconds") for view in instances]
        screen.data({"plugins": found, "malformed": [screen.picked(item, "distribution", "reason") for item in malformed]})
        return
    if instances:
        table(instances, settings, verbose=verbose)
    else:
        screen.line(f"No provider plugin is installed; try: {INSTALL_HINT}", err=True)
    for item in malformed:
        screen.line(f"{item.distribution} cannot be used: {item.reason}; reinstall or uninstall it", err=True)


@click.command()
@click.argument("words", metavar="[PATTERN | default [MODEL]...]", nargs=-1, shell_complete=options.model_names)
@click.option("--all", "everything", is_flag=True, help="Also list the models of providers that are not configured.")
@click.option("--refresh", is_flag=True, help="First ask the providers' services for their models.")
@options.as_json
def models(*, words: tuple[str, ...], everything: bool, refresh: bool, as_json: bool) -> None:
    """List the models that can be called and the aliases of the settings.

    PATTERN is a part of a name, or a whole name with * and ?. Windows are in tokens, prices per million tokens in and out.
    `models default MODEL` sets the model of `ask` and `chat` without -m; several models are tried in order. `models default`
    shows it.
    """
    if words and words[0] == options.DEFAULT:
        _default(words[1:], as_json=as_json)
        return
    if len(words) > 1:
        raise click.UsageError(f"one PATTERN at most, not {len(words)}")
    pattern = "".join(words)
    with Hub() as hub, screen.unlogged():
        if refresh:
            hub.refresh()
        instances, aliases = hub.instances(), hub.settings.aliases
        among = [view for view in instances if everything or view.state == "ready"]
        named = {name: list(map(str, targets)) for name, targets in aliases.items() if _matches(pattern, name)}
        alias = {"provider": None, "state": "alias", "source": "settings"}
        found: list[dict[str, Any]] = [{"model": name, **alias, "stands_for": targets} for name, targets in named.items()]
        explained = hub._registry.explained  # noqa: SLF001 -- our own
        models = ((view, model) for view in among for model in view.models)
        fitting = ((v, m) for v, m in models if _matches(pattern, m.name, *m.aliases, f"{v.name}/{m.name}"))
        found += [_model_record(view, *explained(view.name, model)) for view, model in fitting]
    if found and as_json:
        screen.data(found)
    elif found:
        columns = ("model", "provider", "window", "price", "source", "can", "state")
        screen.table(columns[:-1] if not everything else columns, [_model_row(one, everything) for one in found], _OPTIONAL)
    _report_unlisted(among, hidden=len(instances) - len(among), pattern=pattern, found=bool(found))


_OPTIONAL = ("source",)


def _report_unlisted(among: Sequence[InstanceView], *, hidden: int, pattern: str, found: bool) -> None:
    failed = [view for view in among if view.list_error]
    for view in failed:
        screen.line(f"{view.name} could not list its models: {view.list_error}", err=True)
    silent = (view for view in among if view.can_list and view.state == "ready" and view.list_age is None)
    unasked = [view.name for view in silent if view not in failed]
    if unasked:
        screen.line(f"Not asked for models yet: {', '.join(unasked)}; --refresh asks", err=True)
    if not found:
        text = f"no model matches {pattern!r}" if pattern else "no provider that can be called declares a model"
        text += "; --all looks at the providers that are not configured, too" if hidden else ""
        raise click.ClickException(f"{text}; `providerhub doctor` says what can be called")
    if failed:
        raise click.exceptions.Exit(1)


def _default(names: Sequence[str], *, as_json: bool) -> None:
    """Show or save the default model, which is the alias `default`."""
    with Hub() as hub:
        kept = [str(target) for target in hub.settings.aliases.get(options.DEFAULT, ())]
        if names:
            if options.DEFAULT in names:
                raise click.UsageError("models default default: the alias cannot stand for itself; name a model")
            warnings = []
            for name in names:
                try:
                    options.check(hub, name)
                except ModelNotFoundError as error:
                    raise click.ClickException(f"{error}; nothing was saved") from error
                except ProviderHubError as error:
                    warnings.append(f"Warning: {screen.one_line(error)}")
            path = edit.put(("aliases", options.DEFAULT), options.sequence(names))
            for text in (f"The default model is {', '.join(names)}; it is saved in {path}.", *warnings):
                screen.line(text, err=True)
    if as_json:
        screen.data(list(names) or kept)
    elif not names:
        screen.line(", ".join(kept) or "There is no default model; set one: providerhub models default MODEL")


def _matches(pattern: str, *names: str) -> bool:
    glob = pattern if any(char in pattern for char in "*?[") else f"*{pattern}*"
    return any(fnmatch.fnmatchcase(name.lower(), glob.lower()) for name in names)


def _model_record(view: InstanceView, model: ModelInfo, sources: Mapping[str, str]) -> dict[str, Any]:
    fields = {**CAPABILITIES, **{name: name for name in ("context_window", "max_output_tokens", *_PRICES)}}
    return {
        "model": model.name,
        "aliases": list(model.aliases),
        "provider": view.name,
        "state": view.state,
        **{name: getattr(model, field, None) for name, field in fields.items()},
        "source": _source(view, model),
        "sources": {name: sources[field] for name, field in fields.items() if field in sources},
    }


def _source(view: InstanceView, model: ModelInfo) -> str:
    """The source of an entry: the settings, the list of the service, or the declaration of the plugin."""
    named = {one.name for one in view.config.models} | set(view.config.model) if view.config else set()
    return "settings" if model.name in named else "service" if model.name in view.listed else "plugin"


def _model_row(record: dict[str, Any], with_state: bool) -> tuple[str, ...]:  # noqa: FBT001 -- private
    state = (record["state"],) if with_state else ()
    if "stands_for" in record:
        return record["model"], "alias", "", "", record["source"], f"stands for {', '.join(record['stands_for'])}", *state
    known = {name.removeprefix("json_"): record[name] for name in CAPABILITIES}
    can = ", ".join(name for name, can in known.items() if can and name != "stream")  # nearly all models stream
    cannot = ", ".join(name for name, can in known.items() if can is False)
    names = [f"also {', '.join(record['aliases'])}"] if record["aliases"] else []
    window, prices = record["context_window"], [record[name] for name in _PRICES[:2]]
    price = "" if None in prices else "/".join(f"{price:g}" for price in prices)
    unit = record["price_currency"] if price and record["price_currency"] not in {None, "USD"} else ""
    source = ", ".join(dict.fromkeys([record["source"], *record["sources"].values()]))
    row = (record["model"], record["provider"], _window(window), f"{price} {unit}".strip(), source)
    return *row, "; ".join(filter(None, [*names, can, cannot and f"no {cannot}"])), *state


def _window(tokens: int | None) -> str:
    """A number of tokens in short form: 128000 as 128k, 1000000 as 1M."""
    for size, unit in ((1_000_000, "M"), (1000, "k")):
        if tokens and tokens >= size:
            return f"{round(tokens / size, 1):g}{unit}"
    return str(tokens or "")


@click.command()
@click.argument("models", metavar="MODEL...", nargs=-1, required=True, shell_complete=options.model_names)
@click.option("--stream", is_flag=True, help="Plan for a streaming call.")
@click.option("--tools", is_flag=True, help="Plan for a request with tools.")
@click.option("--image", is_flag=True, help="Plan for a request with an image.")
@options.as_json
def route(*, models: tuple[str, ...], stream: bool, tools: bool, image: bool, as_json: bool) -> None:
    """Show the candidates for MODEL in order, and the excluded providers with the reason. Send nothing.

    Several models are a sequence, as in `ask -m A -m B`.
    """
    messages: list[Any] = [{"role": "user", "content": [{"type": "text", "text": "?"}, _PIXEL] if image else "?"}]
    with Hub() as hub:
        plan = hub.explain(options.sequence(models), messages, stream=stream, tools=[_TOOL] if tools else None)
    screen.data(plan_record(plan)) if as_json else screen.line(plan)


def plan_record(plan: RoutePlan) -> dict[str, Any]:
    """A plan as JSON: the candidates in order, the skipped candidates, and the candidates that must wait."""
    return {
        "candidates": [attrs.asdict(candidate, filter=_CANDIDATE) for candidate in plan.candidates],
        "skipped": list(map(attrs.asdict, plan.skipped)),
        "waits": list(map(attrs.asdict, plan.waits)),
    }
