"""`providerhub demo`."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import attrs
import click

from providerhub import Hub, ProviderConfig, Settings
from providerhub._finding.installed import import_object
from providerhub._finding.registry import INSTALL_HINT
from providerhub.cli import _listings as listings
from providerhub.cli import _screen as screen
from providerhub.cli._extensions import entries

SANDBOX_GROUP = "providerhub.sandbox"
"""Entry-point group of servers that speak a provider's protocol. An entry bears its provider's name and names a `Serve`."""

Serve = Callable[..., AbstractContextManager[str]]
"""Starts a server on this machine and gives its address; `serve(fault="error")` starts one that fails."""
PROMPT = "Hello! Who are you?"


def _sandboxes() -> Iterator[tuple[str, Serve]]:
    """The sandboxes, each with its provider's name."""
    for _, name, target in entries(SANDBOX_GROUP):
        with contextlib.suppress(Exception):  # a broken distribution must not stop the demo
            yield name, import_object(target)


@contextlib.contextmanager
def _own_environment(plugin: str) -> Iterator[None]:
    """Remove the variables that could send the demo elsewhere: the user's addresses, keys, allow-lists and proxies."""
    own = ("PROVIDERHUB_", f"{plugin.upper()}_")
    names = [name for name in os.environ if name.upper().startswith(own) or name.upper().endswith("_PROXY")]
    kept = {name: os.environ.pop(name) for name in names}
    try:
        yield
    finally:
        os.environ.update(kept)


@click.command()
def demo() -> None:
    """Show a call that fails at one provider and that the next one answers. Everything runs on this machine."""
    plugin, serve = next(_sandboxes(), ("", None))
    if serve is None:
        raise click.ClickException(f"the demo needs a provider with a sandbox; try: {INSTALL_HINT}")
    with _own_environment(plugin), serve(fault="error") as failing, serve() as working:
        with Hub(Settings()) as hub:  # without the settings file
            instances = hub.instances()
        screen.heading("Plugins found")
        listings.table(instances, Settings())
        model = next((model.name for view in instances if view.name == plugin for model in view.models), None)
        if model is None:
            raise click.ClickException(f"the plugin {plugin!r} is not ready; `providerhub plugins` shows the reason")
        providers = {
            f"{plugin}-down": ProviderConfig(plugin=plugin, url=failing, priority=1),
            f"{plugin}-demo": ProviderConfig(plugin=plugin, url=working),
        }
        # Another plugin may have the model too; a call to it would use the network, at a price.
        with Hub(Settings(providers=providers, allow=(plugin,), block=(), autoload=True)) as hub:
            screen.heading(f"The plan for {model}: the candidates in order, and those left out")
            plan = hub.explain(model, PROMPT, stream=True)
            # The demo itself blocks the other plugins.
            screen.line(attrs.evolve(plan, skipped=tuple(skip for skip in plan.skipped if skip.reason != "blocked")))
            screen.heading(f"The answer to {PROMPT!r}, as it comes")
            with hub.complete(model, PROMPT, stream=True) as answer:
                screen.answer(answer)
    screen.heading("The attempts")
    screen.indented(answer.route)
