"""`providerhub ask`."""

from __future__ import annotations

import sys

import click

from providerhub import Completion, Hub, ProviderHubError
from providerhub.cli import _screen as screen
from providerhub.cli._show import model_names


def _prompt(given: str) -> str:
    """The prompt itself, or what standard input holds for `-`."""
    if given != "-":
        return given
    try:
        return sys.stdin.buffer.read().decode("utf-8")
    except UnicodeDecodeError as error:
        msg = f"standard input is not UTF-8 text: {error}"
        raise click.UsageError(msg) from None


def _streamed(hub: Hub, model: str, prompt: str) -> Completion:
    with hub.complete(model, prompt, stream=True) as stream:
        text = ""
        try:
            for text in stream:
                screen.piece(text)
        finally:
            if text and not text.endswith("\n"):
                screen.piece("\n")
        return stream.completion


def _whole(hub: Hub, model: str, prompt: str) -> Completion:
    completion = hub.complete(model, prompt)
    if completion.text:
        screen.piece(completion.text if completion.text.endswith("\n") else f"{completion.text}\n")
    return completion


@click.command()
@click.option("-m", "--model", required=True, shell_complete=model_names, help="NAME, or PROVIDER/NAME.")
@click.option("--stream/--no-stream", default=True, help="Show the answer as it comes, or whole.")
@click.option("--trace", is_flag=True, help="Afterwards, list the attempts on standard error.")
@click.argument("prompt")
def ask(*, model: str, stream: bool, trace: bool, prompt: str) -> None:
    """Ask MODEL for an answer to PROMPT; a PROMPT of - is read from standard input."""
    text = _prompt(prompt)
    if not text.strip():
        msg = "the prompt is empty"
        raise click.UsageError(msg)
    with Hub() as hub:
        try:
            completion = (_streamed if stream else _whole)(hub, model, text)
        except ProviderHubError as error:
            if trace:
                screen.route(error.route, err=True)
            raise
    if completion.refusal:
        screen.line(f"The model declined: {completion.refusal}", err=True)
    if trace:
        screen.route(completion.route, err=True)
