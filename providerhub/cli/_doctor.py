"""`providerhub doctor`. It works even if plugins and settings do not."""

from __future__ import annotations

import contextlib
import io
import platform
import sys
from collections.abc import Callable, Iterable

import attrs
import click

from providerhub import InstanceView, ProviderHubError, Settings, __version__
from providerhub._finding.discovery import Plugins
from providerhub._finding.registry import Registry
from providerhub._finding.views import views
from providerhub.cli import _checks as checks
from providerhub.cli import _listings as listings
from providerhub.cli import _options as options
from providerhub.cli import _screen as screen
from providerhub.cli import _settings as setting_rows
from providerhub.cli._distributions import Finding, Installed, findings, installed
from providerhub.cli._imports import Import, import_each

_LEVELS = ("error", "warning", "note", "ok")
_POSITIVE = click.FloatRange(0, min_open=True)


@attrs.define
class Report:
    """The state of an installation.

    `imports` has the value of the entry point as key; `file` is the settings file, if any; `tried` has the findings of calls.
    Without `is_loadable`, every other command refuses the settings.
    """

    versions: dict[str, str] = attrs.field(factory=dict)
    findings: list[Finding] = attrs.field(factory=list)
    providers: tuple[InstanceView, ...] = ()
    imports: dict[str, Import] = attrs.field(factory=dict)
    rows: tuple[setting_rows.Row, ...] = ()
    file: str | None = None
    tried: list[Finding] = attrs.field(factory=list)
    is_loadable: bool = True

    @property
    def wrong(self) -> set[str]:
        """The subjects that have an error."""
        return {finding.about for finding in self.findings if finding.level == "error"}

    def add(self, about: str, check: Callable[[], Iterable[Finding]]) -> None:
        """Run a check of the subject `about`; an error that it raises becomes a finding."""
        try:
            self.findings.extend(check())
        except Exception as error:  # on a broken machine any check may raise; the other checks must still run
            text = f"this check failed: {type(error).__name__}: {screen.one_line(error)}"
            self.findings.append(Finding("error", about, text, "providerhub --debug plugins may show more"))

    def write_json(self) -> None:
        screen.data(
            {
                "healthy": not self.wrong,
                "versions": self.versions,
                "findings": [finding._asdict() for finding in self.findings],
                "providers": [listings.record(view) for view in self.providers],
                "imports": [went._asdict() for went in dict.fromkeys(self.imports.values())],
                "settings": {"file": self.file, "values": [row._asdict() for row in self.rows]},
            }
        )

    def write_text(self, settings: Settings, *, verbose: bool) -> None:
        """Write the verdict, then the errors and warnings; with `verbose`, all findings and the state of the installation."""
        self._write_verdict(settings)
        if verbose:
            screen.heading("Versions")
            screen.table(("name", "version"), list(self.versions.items()))
            screen.heading("Settings other than the defaults")
            setting_rows.table(setting_rows.changed(self.rows))
            screen.heading("Imports, one after another in a process of their own")
            imports = dict.fromkeys(self.imports.values())
            screen.table(("module", "outcome", "time"), [(w.module, w.outcome, f"{w.seconds * 1000:.0f} ms") for w in imports])
            screen.heading("Findings")
        counts = {level: sum(finding.level == level for finding in self.findings) for level in _LEVELS[:2]}
        for finding in sorted(self.findings, key=lambda finding: _LEVELS.index(finding.level)):
            if verbose or finding.level in _LEVELS[:2] or finding in self.tried:
                screen.paragraph(f"{finding.level}: {finding.about}: {finding.text}")
                screen.paragraph(f"    {finding.fix}") if finding.fix else None
        told = ", ".join(f"{counts[level]} {level}{'s' if counts[level] != 1 else ''}" for level in counts)
        screen.paragraph(told + ("" if verbose else "; -v shows notes, versions, settings and imports, too"))

    def _write_verdict(self, settings: Settings) -> None:
        left_out = {*self.wrong, *(finding.about for finding in self.tried if finding.level == "note")}
        answered = {finding.about for finding in self.tried if finding.level == "ok"}
        ready = [view for view in self.providers if view.state == "ready" and view.name not in left_out]
        unknown = [view for view in ready if view.name not in answered and listings.is_untouched(view, settings)]
        named = ", ".join(listings.described(view) for view in ready if view not in unknown) or "no provider"
        screen.paragraph(f"{'You' if self.is_loadable else 'Once the errors below are corrected, you'} can call: {named}")
        if unknown:
            names = ", ".join(view.name for view in unknown)
            screen.paragraph(f"If its server runs: {names}; `providerhub doctor --network` tries it")
        _, idle = listings.folded(self.providers, settings)
        listings.idle_table(idle)
        screen.line("")


@click.command()
@click.option("--network", is_flag=True, help="Ask each ready provider for a tiny answer.")
@click.option("--timeout", default=30.0, show_default=True, type=_POSITIVE, help="Timeout of each answer, in seconds.")
@click.option("--import-timeout", default=10.0, show_default=True, type=_POSITIVE, help="Timeout of each import, in seconds.")
@click.option("--slow", default=0.5, show_default=True, type=click.FloatRange(0), help="Report imports of this many seconds.")
@click.option("-v", "--verbose", is_flag=True, help="Also show notes, versions, settings and imports.")
@options.as_json
def doctor(*, network: bool, timeout: float, import_timeout: float, slow: float, verbose: bool, as_json: bool) -> None:
    """List the providers that can be called, and find the mistakes of the others, each with its fix.

    Exit code 1: a finding is an error.
    """
    report = Report()
    found = installed()
    report.versions = _versions(found)
    report.add("distributions", lambda: findings(found))
    report.file, settings, mistakes = checks.configuration()
    report.findings += mistakes
    try:
        Settings.load()
    except ProviderHubError:
        report.is_loadable = False
    # A plugin that prints when it is imported must not spoil the report.
    with contextlib.redirect_stdout(io.StringIO()):
        usable = _examine_plugins(report, settings, import_timeout, slow)
    report.rows = setting_rows.all_rows(settings, report.providers)
    for view in report.providers:
        report.add(view.name, lambda view=view: checks.provider(view, settings, report.file))  # type: ignore[misc]
    report.add("models", lambda: checks.models(settings, report.providers))
    report.add("commands", checks.commands)
    report.add("providers", lambda: checks.any_ready(report.providers))
    if network and usable is not None:
        before = len(report.findings)
        report.add("network", lambda: checks.network(usable, report.providers, timeout))
        report.tried = report.findings[before:]
    elif network:
        text = "no provider was asked: a hook plugin, which every hub loads, blocks or ends the process"
        report.findings.append(Finding("error", "network", text, "first fix its error above"))
    # A provider with an error, such as a refused key, is not ready.
    wrong = report.wrong
    report.findings = [one for one in report.findings if one.level != "ok" or one.about not in wrong]
    report.write_json() if as_json else report.write_text(settings, verbose=verbose)
    if wrong:
        raise click.exceptions.Exit(1)


def _versions(found: Iterable[Installed]) -> dict[str, str]:
    plugins = {item.name: item.version for item in reversed([*found]) if item.groups and item.name != "providerhub"}
    return {
        "Python": f"{platform.python_version()} ({sys.executable})",
        "platform": platform.platform(),
        "providerhub": __version__,
        **dict(sorted(plugins.items())),
    }


def _examine_plugins(report: Report, settings: Settings, timeout: float, slow: float) -> Settings | None:
    """Import the plugins in another process, then the harmless plugins in this process.

    Returns:
        Settings that block the fatal plugins; `None` if a hook plugin is fatal, so that no hub can be used.
    """
    plugins = Plugins(settings)
    records = [record for name in plugins.names if (record := plugins.peek(name)) and record.state == "found"]
    hooks = plugins.hook_modules
    report.imports = went = import_each([*(record.value for record in records), *(value for _, value, _ in hooks)], timeout)
    for record in records:
        rest = f"; until then: PROVIDERHUB_BLOCK={record.name}"
        report.findings += checks.imported(record.name, record.distribution, went[record.value], slow, rest)
    for name, value, distribution in hooks:
        report.findings += checks.imported(name, distribution, went[value], slow, ", since every hub loads it")
    fatal = {record.name for record in records if went[record.value].is_fatal}
    settings = attrs.evolve(settings, block=frozenset({*(settings.block or ()), *fatal}))
    plugins = Plugins(settings)
    before = len(plugins.malformed)
    usable = not any(went[value].is_fatal for _, value, _ in hooks)
    if usable:
        plugins.hooks("providerhub_rank")
    for item in plugins.malformed[before:]:
        report.findings.append(Finding("error", item.distribution, item.reason, "correct or uninstall it: every hub loads it"))
    report.providers = tuple(view for view in views(Registry(plugins, settings)) if view.plugin not in fatal)
    return settings if usable else None
