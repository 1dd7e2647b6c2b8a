"""`providerhub ask`."""

from __future__ import annotations

import sys
from typing import Any

import click

from providerhub import Completion, Hub, Message, ProviderHubError, Stream
from providerhub.cli import _options as options
from providerhub.cli import _records as records
from providerhub.cli import _screen as screen


def _prompt(given: str | None) -> str:
    """The prompt itself, or what standard input holds."""
    if given is None and sys.stdin.isatty():
        msg = "there is no PROMPT; give one, or pipe one in"
        raise click.UsageError(msg)
    text = _read() if given in {None, "-"} else str(given)
    if not text.strip():
        msg = "the prompt is empty"
        raise click.UsageError(msg)
    return text


def _read() -> str:
    try:
        return sys.stdin.buffer.read().decode("utf-8")
    except UnicodeDecodeError as error:
        msg = f"standard input is not UTF-8 text: {error}"
        raise click.UsageError(msg) from None


def _streamed(hub: Hub, model: str, messages: list[Message], **knobs: Any) -> Completion:
    stream: Stream = hub.complete(model, messages, stream=True, **knobs)
    with stream:
        text = ""
        try:
            for text in stream:
                screen.piece(text)
        finally:
            if text and not text.endswith("\n"):
                screen.piece("\n")
        return stream.completion


def _whole(hub: Hub, model: str, messages: list[Message], **knobs: Any) -> Completion:
    completion: Completion = hub.complete(model, messages, **knobs)
    if completion.text:
        screen.piece(completion.text if completion.text.endswith("\n") else f"{completion.text}\n")
    return completion


def _as_json(hub: Hub, model: str, messages: list[Message], **knobs: Any) -> Completion:
    try:
        completion: Completion = hub.complete(model, messages, **knobs)
    except ProviderHubError as error:
        screen.data({"error": records.error(error)})
        raise
    screen.data(records.completion(completion))
    return completion


@click.command()
@options.model
@options.knobs
@click.option("--stream/--no-stream", default=True, help="Show the answer as it comes, or whole.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, when the answer is whole.")
@click.option("--trace", is_flag=True, help="Afterwards, list the attempts on standard error.")
@click.argument("prompt", required=False)
def ask(*, model: str, system: str | None, stream: bool, as_json: bool, trace: bool, prompt: str | None, **knobs: Any) -> None:
    """Ask MODEL for an answer to PROMPT; without one, or where it is -, standard input is the prompt."""
    messages: list[Message] = [*options.opening(system), {"role": "user", "content": _prompt(prompt)}]
    way = _as_json if as_json else _streamed if stream else _whole
    with Hub() as hub:
        try:
            completion = way(hub, model, messages, **options.given(knobs))
        except ProviderHubError as error:
            if trace:
                screen.route(error.route, err=True)
            raise
    if completion.refusal and not as_json:
        screen.line(f"The model declined: {completion.refusal}", err=True)
    if trace:
        screen.route(completion.route, err=True)
