"""`providerhub demo`."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager

import attrs
import click

from providerhub import Hub, InstanceView, ProviderConfig, Settings
from providerhub._finding.installed import INSTALL_HINT, import_object, in_group
from providerhub.cli import _listings as listings
from providerhub.cli import _options as options
from providerhub.cli import _screen as screen

SANDBOX_GROUP = "providerhub.sandbox"
"""Entry-point group of servers with a provider's protocol: the provider's name → a `Serve`."""

Serve = Callable[..., AbstractContextManager[str]]
"""Starts a server on this machine and yields its address; `serve(fault="error")` starts a failing server."""
PROMPT = "Hello! Who are you?"


def _sandboxes() -> Iterator[tuple[str, Serve]]:
    for entry in in_group(SANDBOX_GROUP):
        with contextlib.suppress(Exception):  # a broken distribution must not stop the demo
            yield entry.name, import_object(entry.value)


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
@options.as_json
def demo(*, as_json: bool) -> None:
    """Show a call that fails at one provider and succeeds at the next. Everything runs on this machine."""
    plugin, serve = next(_sandboxes(), ("", None))
    if serve is None:
        raise click.ClickException("the demo needs a provider with a sandbox; try: pip install providerhub-lockchat")
    with _own_environment(plugin), serve(fault="error") as failing, serve() as working:
        with Hub(Settings()) as hub:  # settings without the file
            installed = hub.instances()
        model = next((model.name for view in installed if view.name == plugin for model in view.models), None)
        if model is None:
            raise click.ClickException(f"the plugin {plugin!r} is not ready; `providerhub plugins` shows the reason")
        providers = {
            f"{plugin}-down": ProviderConfig(plugin=plugin, url=failing, priority=1),
            f"{plugin}-demo": ProviderConfig(plugin=plugin, url=working),
        }
        # Another plugin may also have the model. A call to it would use the network and cost money.
        own = Settings(providers=providers, allow=(plugin,), block=(), autoload=True, journal={"enabled": False})
        with Hub(own) as hub:
            plan = attrs.evolve(hub.explain(model, PROMPT, stream=True), skipped=())  # the demo has excluded the other providers
            if not as_json:
                both = f"Two services run on this machine; {plugin}-down fails on purpose. Both have the model {model}."
                screen.paragraph(both)
                screen.heading("The plan: the providers in the order in which they are asked")
                screen.line(plan)
                screen.heading(f"The answer to {PROMPT!r}, as it comes")
            with hub.complete(model, PROMPT, stream=True) as answer:
                screen.answer(answer) if not as_json else "".join(answer)
    step = _next_step([view for view in installed if view.name != plugin])
    if as_json:
        screen.data({"plan": listings.plan_record(plan), "answer": screen.record(answer.completion), "next": step})
        return
    screen.heading("The attempts")
    screen.indented(attrs.evolve(answer.route, skipped=()))
    screen.heading("Next")
    screen.line(step)


def _next_step(others: Sequence[InstanceView]) -> str:
    ready = next((view for view in others if view.state == "ready" and view.models and view.settings), None)
    if ready is not None:
        return f'ask a real model: providerhub ask -m {ready.name}/{ready.models[0].name} "Hello"'
    for view in sorted(others, key=lambda view: view.distribution != f"providerhub-{view.name}"):
        if len(view.missing) == 1 and any(setting.name == "api_key" for setting in view.settings):
            keep = f"keep a key: providerhub keys set {view.name} (or set {view.missing[0]})"
            return f"{keep}; `providerhub doctor` names the others"
    return f"install a provider: {INSTALL_HINT}"
