"""`providerhub doctor`: what is installed, what is wrong with it, and what to do. It works while plugins and settings do not."""

from __future__ import annotations

import contextlib
import io
import platform
import sys
from collections.abc import Callable, Iterable, Iterator

import attrs
import click

from providerhub import Hub, InstanceView, Settings, __version__
from providerhub._finding.discovery import Plugins
from providerhub._finding.registry import INSTALL_HINT, Registry
from providerhub._finding.views import views
from providerhub.cli import _checks as checks
from providerhub.cli import _screen as screen
from providerhub.cli._distributions import Installed, findings, installed
from providerhub.cli._findings import Finding
from providerhub.cli._imports import Import, import_each
from providerhub.cli._settings import Row, general_rows, provider_rows, shown

_ORDER = ("error", "warning", "note", "ok")


@attrs.define
class Report:
    """What was found.

    Args:
        versions: Name → version, the place of Python included.
        findings: Everything, in the order in which it was looked at.
        providers: The providers as they stand.
        imports: Entry point's value → how its import went.
        hooks: The modules that every hub loads.
        values: The settings with their origins.
        file: Where the settings file is looked for.
    """

    versions: dict[str, str] = attrs.field(factory=dict)
    findings: list[Finding] = attrs.field(factory=list)
    providers: tuple[InstanceView, ...] = ()
    imports: dict[str, Import] = attrs.field(factory=dict)
    hooks: set[str] = attrs.field(factory=set)
    values: tuple[Row, ...] = ()
    file: str | None = None

    @property
    def healthy(self) -> bool:
        """Whether nothing keeps calls from working."""
        return all(finding.level != "error" for finding in self.findings)

    def add(self, what: str, found: Callable[[], Iterable[Finding]]) -> None:
        """Take the findings of a check; one that fails is a finding, and the others still run.

        Args:
            what: What it checks.
            found: The check.
        """
        try:
            self.findings.extend(found())
        except Exception as error:  # noqa: BLE001 -- the doctor is for machines on which anything may be broken
            text = f"this could not be checked: {type(error).__name__}: {screen.one_line(error)}"
            self.findings.append(Finding("error", what, text, "providerhub --debug plugins may show more"))


@click.command()
@click.option("--network", is_flag=True, help="Ask each configured provider for a tiny answer.")
@click.option(
    "--timeout", default=30.0, show_default=True, type=click.FloatRange(0, min_open=True), help="Seconds for each answer."
)
@click.option(
    "--import-timeout", default=10.0, show_default=True, type=click.FloatRange(0, min_open=True), help="Seconds for each import."
)  # fmt: skip
@click.option("--slow", default=0.5, show_default=True, type=click.FloatRange(0), help="Seconds from which an import is slow.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(*, network: bool, timeout: float, import_timeout: float, slow: float, as_json: bool) -> None:
    """Look for whatever keeps providers from working, and say what to do about it."""
    report = Report()
    found = installed()
    report.versions = _versions(found)
    report.add("distributions", lambda: findings(found))
    told = checks.told()
    report.file = told.file
    report.findings += told.findings
    # What a plugin prints when it is imported must not be part of the report.
    with contextlib.redirect_stdout(io.StringIO()):
        settings = _examined_plugins(report, told.settings, import_timeout, slow)
    report.values = (*general_rows(told.settings), *provider_rows(told.settings, report.providers))
    for view in report.providers:
        report.add(view.name, lambda view=view: checks.provider(view, told.settings, told.file))  # type: ignore[misc]
    report.add("providers", lambda: _any_ready(report.providers))
    if network and any(_is_lost(went) for went in report.imports.values() if went.module in report.hooks):
        text, fix = "nobody was asked: a hook plugin, which every hub loads, would not let it", "mend that first, as said above"
        report.findings.append(Finding("error", "network", text, fix))
    elif network:
        report.add("network", lambda: _asked(report, settings, timeout))
    (_as_data if as_json else _as_text)(report)
    if not report.healthy:
        raise click.exceptions.Exit(1)


def _versions(found: tuple[Installed, ...]) -> dict[str, str]:
    brought = {item.name: item.version for item in reversed(found) if item.groups and item.name != "providerhub"}
    return {
        "Python": f"{platform.python_version()} ({sys.executable})",
        "platform": platform.platform(),
        "providerhub": __version__,
        **dict(sorted(brought.items())),
    }


def _examined_plugins(report: Report, settings: Settings, timeout: float, slow: float) -> Settings:
    """Look at the plugins: first in processes of their own, then those that survive it in this one.

    Returns:
        Settings that keep away what did not survive.
    """
    plugins = Plugins(settings)
    records = {name: record for name in plugins.names if (record := plugins.peek(name)) and record.state == "found"}
    hooks = {name: (value, brought_by) for name, value, brought_by in plugins.hook_modules}
    report.hooks = {value.partition(":")[0].strip() for value, _ in hooks.values()}
    report.imports = import_each(
        [*(record.value for record in records.values()), *(value for value, _ in hooks.values())], timeout
    )
    for name, record in records.items():
        meanwhile = f"; meanwhile: PROVIDERHUB_BLOCK={name}"
        report.findings += _import_findings(name, record.distribution, report.imports[record.value], slow, meanwhile)
    for name, (value, brought_by) in hooks.items():
        report.findings += _import_findings(name, brought_by, report.imports[value], slow, ", since every hub loads it")
    lost = {name for name, record in records.items() if _is_lost(report.imports[record.value])}
    settings = attrs.evolve(settings, block=frozenset({*(settings.block or ()), *lost}))
    plugins = Plugins(settings)
    before = len(plugins.malformed)
    if not any(_is_lost(report.imports[value]) for value, _ in hooks.values()):
        plugins.hooks("providerhub_rank")
    for item in plugins.malformed[before:]:
        report.findings.append(Finding("error", item.distribution, item.reason, "correct or uninstall it: every hub loads it"))
    report.providers = tuple(view for view in views(Registry(plugins, settings)) if view.plugin not in lost)
    return settings


def _is_lost(went: Import) -> bool:
    """Whether importing it here would end or hold up this process."""
    return went.outcome in {"timeout", "ended"}


def _import_findings(name: str, brought_by: str, went: Import, slow: float, rest: str) -> Iterator[Finding]:
    fix = f"uninstall or upgrade {brought_by}{rest}"
    if went.outcome == "timeout":
        yield Finding("error", name, f"importing {went.module} had not ended after {went.seconds:g} s", fix)
    elif went.outcome == "ended":
        yield Finding("error", name, f"importing {went.module} ended its process with status {went.status}", fix)
    elif went.seconds >= slow:
        text = f"importing {went.module} takes {went.seconds:.2f} s"
        yield Finding("warning", name, text, f"ask the author of {brought_by} to import what is heavy in the factory's module")
    if went.printed:
        text = f"importing {went.module} prints to standard output, where answers and JSON go"
        yield Finding("warning", name, text, f"report it to the author of {brought_by}")


def _any_ready(providers: tuple[InstanceView, ...]) -> Iterator[Finding]:
    if not providers:
        yield Finding("error", "providers", "no provider plugin is installed that can be used", INSTALL_HINT)
    elif not any(view.state == "ready" for view in providers):
        yield Finding(
            "error", "providers", "no provider is ready, so that no call can work", "configure one of them, as said above"
        )


def _asked(report: Report, settings: Settings, seconds: float) -> Iterator[Finding]:
    ready = [view for view in report.providers if view.state == "ready"]
    # One that is not installed would keep the others from being asked.
    there = {name: config for name, config in settings.providers.items() if name in {view.name for view in ready}}
    with screen.unlogged(), Hub(attrs.evolve(settings, providers=there)) as hub:
        hub.refresh()
        views = {view.name: view for view in hub.instances()}
        for view in ready:
            if views[view.name].list_error:
                text = f"it could not list its models: {views[view.name].list_error}"
                yield Finding("warning", view.name, text, "list them under its [providers] entry in the settings file")
            yield checks.network(hub, views[view.name], seconds)


def _as_data(report: Report) -> None:
    screen.data({
        "healthy": report.healthy,
        "versions": report.versions,
        "findings": [finding._asdict() for finding in report.findings],
        "providers": [
            {
                "name": view.name, "plugin": view.plugin, "distribution": view.distribution, "version": view.version,
                "state": view.state, "reason": view.reason, "models": [model.name for model in view.models],
            }
            for view in report.providers
        ],
        "imports": [went._asdict() for went in report.imports.values()],
        "settings": {"file": report.file, "values": [row._asdict() for row in report.values]},
    })  # fmt: skip


def _as_text(report: Report) -> None:
    screen.heading("Versions")
    screen.table(("what", "version"), list(report.versions.items()))
    screen.heading("Settings, but for those that have their default")
    told = [row for row in report.values if row.origin != "default"]
    screen.table(("setting", "value", "from"), [(row.name, shown(row.value), row.origin) for row in told])
    if report.imports:
        screen.heading("Imports, each in a process of its own")
        rows = [(went.module, went.outcome, f"{went.seconds * 1000:.0f} ms") for went in report.imports.values()]
        screen.table(("module", "outcome", "time"), rows)
    screen.heading("Findings")
    found = sorted(report.findings, key=lambda finding: _ORDER.index(finding.level))
    screen.table(("level", "about", "finding", "what to do"), [(f.level, f.about, f.text, f.fix) for f in found])
    counts = {level: sum(finding.level == level for finding in found) for level in _ORDER[:2]}
    screen.line(", ".join(f"{count} {level}{'s' if count != 1 else ''}" for level, count in counts.items()))
