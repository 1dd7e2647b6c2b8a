"""`providerhub route`."""

from __future__ import annotations

from typing import Any

import click

from providerhub import CallerError, Hub
from providerhub.cli import _options as options
from providerhub.cli import _records as records
from providerhub.cli import _screen as screen

_TOOL = {"type": "function", "function": {"name": "example", "parameters": {"type": "object", "properties": {}}}}
_PIXEL = {"type": "image_url", "image_url": {"url": "data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAAC"}}


@click.command()
@click.argument("model", shell_complete=options.model_names)
@click.option("--stream", is_flag=True, help="Plan for a streaming call.")
@click.option("--tools", is_flag=True, help="Plan for a request with tools.")
@click.option("--image", is_flag=True, help="Plan for a request with an image.")
@options.as_json
def route(*, model: str, stream: bool, tools: bool, image: bool, as_json: bool) -> None:
    """Show the candidates for MODEL in order, and those left out with the reason. Send nothing."""
    messages: list[Any] = [{"role": "user", "content": [{"type": "text", "text": "?"}, _PIXEL] if image else "?"}]
    with Hub() as hub:
        try:
            plan = hub.explain(model, messages, stream=stream, tools=[_TOOL] if tools else None)
        except CallerError as error:
            if as_json:
                screen.data({**records.plan((), error.route.skipped), "error": screen.one_line(error)})
            raise
    if as_json:
        screen.data(records.plan(plan.candidates, plan.skipped, plan.waits))
    else:
        screen.line(plan)
