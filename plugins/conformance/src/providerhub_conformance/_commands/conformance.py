"""`providerhub conformance`: run the checks of the kit on an installed provider."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import click

from providerhub import Hub, __version__
from providerhub.cli import _screen as screen
from providerhub_conformance._kit.announced import suite_for
from providerhub_conformance._kit.catalogue import CHECKS
from providerhub_conformance._kit.report import Report


def provider_names(_ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Complete the name of a provider in the shell."""
    with Hub() as hub:
        return sorted(record.name for record in hub.plugins() if record.name.startswith(incomplete))


def _pairs(_ctx: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    """Parse `NAME=VALUE`.

    Raises:
        click.BadParameter: A value has no `=`, or no name before it.
    """
    pairs = dict[str, str]()
    for value in values:
        name, sign, rest = value.partition("=")
        if not name or not sign:
            msg = f"{value!r} is not of the form {parameter.metavar}"
            raise click.BadParameter(msg, param=parameter)
        pairs[name] = rest
    return pairs


def _picture(_ctx: click.Context, parameter: click.Parameter, path: Path | None) -> Path | None:
    """Check the file name of the badge.

    Raises:
        click.BadParameter: The name ends neither in `.svg` nor in `.json`.
    """
    if path is not None and path.suffix not in {".svg", ".json"}:
        msg = f"{path} ends neither in .svg nor in .json"
        raise click.BadParameter(msg, param=parameter)
    return path


@click.command()
@click.argument("provider", required=False, shell_complete=provider_names)
@click.option(
    "--wire", help="The protocol of the service: openai, anthropic, none, or module:Class. By default the plugin announces it."
)
@click.option("--model", help="The model to ask for; by default the first model that the plugin declares.")
@click.option(
    "--set", "settings", multiple=True, metavar="NAME=VALUE", callback=_pairs, help="A value for a setting of the provider."
)
@click.option("--waive", multiple=True, metavar="CHECK=REASON", callback=_pairs, help="A check that may fail, and the reason.")
@click.option(
    "--badge",
    type=click.Path(path_type=Path, dir_okay=False),
    callback=_picture,
    help="Write a badge: .svg, or .json for shields.io.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--list", "listing", is_flag=True, help="Only list the checks, with their meaning and the fix of a failure.")
def conformance(
    *,
    provider: str | None,
    wire: str | None,
    model: str | None,
    settings: dict[str, str],
    waive: dict[str, str],
    badge: Path | None,
    as_json: bool,
    listing: bool,
) -> None:
    """Check the installed PROVIDER. The kit plays the service on this machine, without network and key.

    Exit code 1: a check failed.
    """
    if listing:
        _list(as_json=as_json)
        return
    if provider is None:
        msg = "name a provider, or ask for --list"
        raise click.UsageError(msg)
    suite = suite_for(provider, wire=wire, model=model, settings=settings, waive=waive)
    # The provider logs the faults that the kit plays. They are not warnings for the user.
    logging.getLogger().addHandler(logging.NullHandler())
    report = suite.report()
    if badge is not None:
        badge.write_text(report.badge_svg() if badge.suffix == ".svg" else report.badge_json(), encoding="utf-8")
    if as_json:
        screen.data(report.to_dict())
    else:
        _show(report)
    if not report.ok:
        raise click.exceptions.Exit(1)


def _show(report: Report) -> None:
    model = f", model {report.model}" if report.model else ""
    screen.line(f"{report.provider} ({report.distribution}{model}, {report.wire}) on providerhub {__version__}")
    shown = [result for result in report.results if result.outcome != "failed"]
    screen.table(
        ("group", "check", "result", "detail"),
        [(r.check.group, r.check.name, r.outcome, _detail(r.outcome, r.detail)) for r in shown],
    )
    for result in report.results:
        if result.outcome == "failed":
            screen.heading(f"FAILED  {result.check.name}")
            for text in str(result).removeprefix(f"{result.check.name}: ").splitlines():
                screen.line(f"  {text}")
    screen.heading(report.summary)


def _detail(outcome: str, detail: str) -> str:
    return f"{detail} fails" if outcome == "blocked" else detail


def _list(*, as_json: bool) -> None:
    if as_json:
        fields = ("name", "group", "means", "promise", "fix", "requires")
        found: list[dict[str, Any]] = [{field: getattr(check, field) for field in fields} for check in CHECKS.values()]
        screen.data(found)
        return
    for check in CHECKS.values():
        screen.heading(f"{check.name} ({check.group})")
        screen.line(f"  {check.means}\n  protects: {check.promise}\n  to mend: {check.fix}")
