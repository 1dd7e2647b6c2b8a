"""`providerhub demo`: a provider that fails, one that works, and what the retry chain makes of them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import attrs
import click

from providerhub import Hub, InstanceView, ProviderConfig, Settings
from providerhub._finding.registry import INSTALL_HINT
from providerhub.cli import _screen as screen
from providerhub.cli._show import plugin_table

SANDBOX_GROUP = "providerhub.sandbox"
"""Entry-point group of sandboxes. Each is named as its provider and gives a function like `Serve`."""

Serve = Callable[..., AbstractContextManager[str]]
PROMPT = "Hello! Who are you?"


@attrs.frozen
class Sandbox:
    """A server on this machine that speaks a provider's protocol.

    Args:
        plugin: The provider plugin that talks to it.
        serve: Starts it; `serve(fault="error")` starts one that fails.
    """

    plugin: str
    serve: Serve


def _sandboxes() -> Iterator[Sandbox]:
    import importlib_metadata  # noqa: PLC0415 -- slow to import, and wanted by this command only

    for distribution in importlib_metadata.distributions():
        # Whatever else is broken on this machine must not stop the demo.
        with contextlib.suppress(Exception):
            for entry in distribution.entry_points.select(group=SANDBOX_GROUP):
                yield Sandbox(entry.name, entry.load())


@contextlib.contextmanager
def _own_environment(plugin: str) -> Iterator[None]:
    """Take away what could send the demo elsewhere: the user's addresses, keys, allow-lists and proxies."""
    names = [name for name in os.environ if name.upper().startswith(("PROVIDERHUB_", f"{plugin.upper()}_"))]
    names += [name for name in os.environ if name.upper().endswith("_PROXY")]
    kept = {name: os.environ.pop(name) for name in names}
    try:
        yield
    finally:
        os.environ.update(kept)


def _settings(plugin: str, failing: str, working: str) -> Settings:
    return Settings(
        providers={
            f"{plugin}-down": ProviderConfig(plugin=plugin, url=failing, priority=1),
            f"{plugin}-demo": ProviderConfig(plugin=plugin, url=working),
        },
        # Another plugin might have the model too, and would be asked over the network, at a price.
        allow=(plugin,), block=(), autoload=True,
    )  # fmt: skip


def _show_plugins() -> tuple[InstanceView, ...]:
    with Hub(Settings()) as hub:  # not what the settings file says
        instances = hub.instances()
    screen.heading("Plugins found")
    plugin_table(instances)
    return instances


def _model(instances: tuple[InstanceView, ...], plugin: str) -> str:
    models = next((view.models for view in instances if view.name == plugin), ())
    if not models:
        msg = f"the plugin {plugin!r} is not ready; `providerhub plugins` says why"
        raise click.ClickException(msg)
    return models[0].name


def _answer(hub: Hub, model: str) -> Any:
    with hub.complete(model, PROMPT, stream=True) as stream:
        for text in stream:
            screen.piece(text)
        screen.piece("\n")
        return stream.route


@click.command()
def demo() -> None:
    """Show a call that fails at one provider and is answered by the next, all on this machine."""
    sandbox = next(_sandboxes(), None)
    if sandbox is None:
        msg = f"the demo needs a provider with a sandbox; try: {INSTALL_HINT}"
        raise click.ClickException(msg)
    with (
        _own_environment(sandbox.plugin),
        sandbox.serve(fault="error") as failing,
        sandbox.serve() as working,
    ):
        model = _model(_show_plugins(), sandbox.plugin)
        with Hub(_settings(sandbox.plugin, failing, working)) as hub:
            screen.heading(f"The plan for {model}: what would be tried, in order, and what is left out")
            screen.line(str(hub.explain(model, PROMPT, stream=True)))
            screen.heading(f"The answer to {PROMPT!r}, as it comes")
            taken = _answer(hub, model)
    screen.heading("The attempts")
    screen.route(taken)
