"""Checks of a plugin's declaration, and of the cost of its import and its factory."""

from __future__ import annotations

from importlib import metadata
from typing import Any

import pluggy

from providerhub import Hub, NoCapableProviderError, ProviderHubError, ProviderInfo, hookspecs
from providerhub_conformance._faults.scripts import http_response
from providerhub_conformance._faults.server import refusing_url
from providerhub_conformance._kit import probe
from providerhub_conformance._kit.bench import Bench
from providerhub_conformance._kit.check import check
from providerhub_conformance._kit.outcome import CheckFailed, NotApplicable, expect
from providerhub_conformance._kit.subject import completed
from providerhub_conformance._kit.wire import Wire

GROUP = "declaration"
_CAPABILITIES = ("supports_stream", "supports_tools", "supports_images", "supports_json_schema", "supports_prefill")
_SECRET_NAMES = ("key", "token", "secret", "password")


@check(
    GROUP,
    requires=(),
    wire=False,
    both=False,
    fix="In pyproject.toml: [project.entry-points.providerhub] NAME = 'package'; in the package a function providerhub_provider "
    "marked with @hookimpl that returns ProviderInfo(name=NAME, …). Reinstall after changing it.",
    promise="Installing the distribution is enough to have the provider.",
)
def entry_point_valid(bench: Bench) -> None:
    """One installed distribution has an entry point of this name in group `providerhub`, which leads to a `ProviderInfo`."""
    record = bench.subject.record
    if record is None:
        raise CheckFailed(f"no installed distribution has an entry point {bench.subject.name!r} in group {hookspecs.PROJECT!r}")
    expect(record.state == "ready", f"{record.state}: {record.reason}")
    expect(record.version, f"the distribution {record.distribution!r} has no version")


@check(
    GROUP,
    requires=("entry-point-valid",),
    wire=False,
    both=False,
    fix="Correct the ProviderInfo in providerhub_provider(): each model once, capabilities True, False or None, secrets with "
    "secret=True.",
    promise="Routing uses the declaration alone. A wrong value sends requests to providers that cannot answer them.",
)
def metadata_valid(bench: Bench) -> None:
    """The declared models, capabilities, prices and settings make sense, and the factory can be imported."""
    info = bench.subject.info
    problems = [*_model_problems(info), *_setting_problems(info)]
    if not info.factory:
        problems.append("the declaration has no factory")
    for reference in filter(None, (info.factory, info.discover)):
        try:
            found: object = _imported_object(reference)
        except Exception as error:  # importing a module may raise any error
            problems.append(f"{reference!r} cannot be imported: {type(error).__name__}: {error}")
        else:
            if not callable(found):
                problems.append(f"{reference!r} cannot be called")
    expect(not problems, "; ".join(problems))


def _model_problems(info: ProviderInfo) -> list[str]:
    names = [name for model in info.models for name in (model.name, *model.aliases)]
    found = [f"the name {name!r} is declared more than once" for name in sorted(set(names)) if names.count(name) > 1]
    for model in info.models:
        found += [
            f"{model.name}: {field} is {getattr(model, field)!r}, not True, False or None"
            for field in _CAPABILITIES
            if getattr(model, field) not in (True, False, None)
        ]
        found += [
            f"{model.name}: {field} is {value!r}"
            for field in ("context_window", "max_output_tokens", "price_in", "price_out", "price_cache_read", "price_cache_write")
            if (value := getattr(model, field)) is not None and not (value >= 0 if field.startswith("price") else value > 0)
        ]
        if "*" in model.name[:-1]:
            found.append(f"{model.name}: a * is allowed at the end only")
    return found


def _setting_problems(info: ProviderInfo) -> list[str]:
    names = [setting.name for setting in info.settings]
    found = [f"the setting {name!r} is declared more than once" for name in sorted(set(names)) if names.count(name) > 1]
    found += [
        f"the setting {s.name!r} looks like a secret and is not marked secret=True"
        for s in info.all_settings
        if not s.secret and s.name.lower().endswith(_SECRET_NAMES)
    ]
    found += [
        f"{s.name}: {variable!r} is not valid as an environment variable"
        for s in info.settings
        for variable in s.variables
        if not variable.isidentifier()
    ]
    return found


@check(
    GROUP,
    requires=("entry-point-valid",),
    wire=False,
    both=False,
    fix="Import SDKs and HTTP libraries in the module of `factory`. It is imported when the provider is first used.",
    promise="A program with twenty plugins installed starts as fast as with one.",
)
def declared_light(bench: Bench) -> None:
    """The module of the entry point imports only the standard library, providerhub and the plugin's own modules."""
    found = _imported(bench)
    assert bench.subject.record is not None  # noqa: S101 -- a required check has passed
    module = bench.subject.record.value.partition(":")[0].strip()
    own = {module.partition(".")[0], *probe.own_packages(bench.subject.record.distribution)}
    foreign = probe.third_party(found["new"], own | {"providerhub", "pluggy", "attr", "attrs"})
    expect(not foreign, f"importing {module} also imports {', '.join(foreign)}")


@check(
    GROUP,
    requires=("entry-point-valid",),
    wire=False,
    both=False,
    fix="Only define things at import. Do not build tables, read files or import modules that the declaration does not need.",
    promise="A program with twenty plugins installed starts as fast as with one.",
)
def import_cheap(bench: Bench) -> None:
    """The import of the module of the entry point takes less processor time than the import of the core."""
    found = _imported(bench)
    own, core = found["own"], found["core"]
    expect(own <= core, f"the import took {own * 1000:.0f} ms of processor time; that of the core takes {core * 1000:.0f} ms")


def _imported(bench: Bench) -> dict[str, Any]:
    record = bench.subject.record
    assert record is not None  # noqa: S101 -- a required check has passed
    return probe.imports(record.value.partition(":")[0].strip(), bench.subject.patience)


@check(
    GROUP,
    requires=("entry-point-valid",),
    wire=False,
    both=False,
    fix="Correct the name of the function, or require the version of providerhub that has the hook. Put other hooks than "
    "providerhub_provider into a separate module, in entry-point group providerhub.hooks.",
    promise="A misspelt hook is reported at once.",
)
def no_unknown_hooks(bench: Bench) -> None:
    """The core calls each function that is marked with `@hookimpl`."""
    record = bench.subject.record
    assert record is not None  # noqa: S101 -- a required check has passed
    plugin = _imported_object(record.value)
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    marked = [name for name in dir(plugin) if manager.parse_hookimpl_opts(plugin, name) is not None]
    strange = [name for name in marked if name != "providerhub_provider"]
    expect(not strange, f"{record.value} implements {', '.join(strange)}, which the core does not call there")


@check(
    GROUP,
    requires=("metadata-valid",),
    wire=False,
    both=False,
    fix="Connect, look names up and start processes at the first request, not in create(config) or __init__.",
    promise="Planning a call never waits for a network, and a service that is down breaks only the calls to it.",
)
def created_without_io(bench: Bench) -> None:
    """The factory opens no connection, looks up no name and starts no process."""
    with refusing_url() as url:
        config = bench.subject.config(url + bench.wire.base)
        found = probe.creation(bench.subject.info.factory, config, bench.subject.patience)
    expect(not found["error"], f"{bench.subject.info.factory} raised {found['error']}")
    expect(not found["events"], f"{bench.subject.info.factory} did I/O: {'; '.join(found['events'])}")


@check(
    GROUP,
    requires=("metadata-valid",),
    wire=False,
    both=False,
    fix="Declare all settings that the provider needs: Setting('url', env='ACME_URL', required=True), needs_auth=True. "
    "Do not require other values in create().",
    promise="A user without a key reads which variable to set, before any request is sent.",
)
def missing_key_named(bench: Bench) -> None:
    """An error names each missing required setting and its variable. With only the required settings, the factory works."""
    info, subject = bench.subject.info, bench.subject
    with refusing_url() as url:
        address = url + bench.wire.base
        for setting in info.all_settings:
            if setting.required and setting.default is None:
                hub = bench.hub(address, without=frozenset({setting.name}))
                said = _refused(hub, bench)
                variables = [name for view in hub.instances() if view.name == subject.name for name in view.missing]
                named = variables and all(name in said for name in (setting.name, *variables))
                expect(named, f"without {setting.name!r} the caller gets: {said}")
        # This includes the address: an address without a default is a required setting.
        optional = frozenset(s.name for s in info.all_settings if not s.required and s.name not in subject.settings)
        hub = bench.hub(address, without=optional)
        try:
            bench.provider(hub)
        except Exception as error:
            raise CheckFailed(f"with its required settings alone it cannot be made: {type(error).__name__}: {error}") from error


def _imported_object(reference: str) -> Any:
    """Import `module:object`, as an entry point does."""
    return metadata.EntryPoint(name="", value=reference, group="").load()


def _refused(hub: Hub, bench: Bench) -> str:
    try:
        plan = hub.explain(bench.subject.target, "Hello")
    except NoCapableProviderError as error:
        return str(error)
    except ProviderHubError as error:
        return f"{type(error).__name__}: {error}"
    return f"no error: the provider would be tried ({plan})"


@check(
    GROUP,
    requires=("metadata-valid",),
    both=False,
    fix="Let `discover` ask the service with the given config, and return ModelInfo objects or names.",
    promise="`providerhub models` shows the models that the account has.",
)
def models_listed(bench: Bench) -> None:
    """A provider with `discover` returns the models that the service lists."""
    info = bench.subject.info
    if not info.discover:
        raise NotApplicable("it declares no `discover`")
    names = ("conformance-large", "conformance-small")
    if type(bench.wire).listed is Wire.listed and bench.wire.listing(names) is None:
        raise NotApplicable("the wire cannot list models")
    server = bench.serve(lambda request: http_response(200, bench.wire.listed(request, names) or b""))
    found = _imported_object(info.discover)(completed(bench.subject.config(server.url + bench.wire.base)))
    got = {model if isinstance(model, str) else model.name for model in found}
    expect(set(names) <= got, f"the service lists {', '.join(names)}; discover gave {sorted(got)}")
