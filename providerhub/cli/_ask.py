"""`providerhub ask`."""

from __future__ import annotations

import re
import sys
from typing import Any

import click

from providerhub import Hub, ProviderHubError, Stream
from providerhub.cli import _options as options
from providerhub.cli import _records as records
from providerhub.cli import _screen as screen
from providerhub.cli._calls import answering

_UNDECODED = re.compile("[\ud800-\udfff]")  # bytes of an argument that Python could not decode; no service accepts them


def _prompt(given: str | None) -> str:
    """The argument, the text of standard input, or both with a blank line between them."""
    if given is None and sys.stdin.isatty():
        raise click.UsageError("there is no PROMPT; give one as an argument, or pipe one in")
    parts = [] if given in {None, "-"} else [str(given)]
    if not parts or not sys.stdin.isatty():
        try:
            parts.append(sys.stdin.buffer.read().decode("utf-8-sig"))
        except UnicodeDecodeError as error:
            raise click.UsageError(f"standard input is not UTF-8 text: {error}") from None
    text = "\n\n".join(part for part in parts if part.strip())
    if not text:
        raise click.UsageError("the prompt is empty; give a text")
    if _UNDECODED.search(text):
        raise click.UsageError("the prompt is not valid text in the encoding of the locale; pipe it in as UTF-8")
    return text


@click.command()
@options.model
@options.keywords
@click.option("--stream/--no-stream", default=True, help="Print the answer as it comes (default), or when it is complete.")
@options.as_json
@options.media
@click.option("--trace", is_flag=True, help="Print the attempts to standard error afterwards.")
@click.argument("prompt", required=False)
def ask(*, model: str, stream: bool, as_json: bool, media: bool, trace: bool, prompt: str | None, **keywords: Any) -> None:
    """Ask a model for an answer to PROMPT. A text from a pipe is appended to PROMPT, after a blank line.

    Without PROMPT, or with -, the prompt is the text of standard input. Inside a loop that reads lines, add < /dev/null.
    """
    call = {"model": model, "messages": _prompt(prompt), **options.given(keywords)}
    with Hub() as hub:
        try:
            with answering(hub, stream=stream and not as_json, **call) as (answer, texts):
                if not as_json:
                    screen.answer(texts)
                completion = answer.completion if isinstance(answer, Stream) else answer
        except ProviderHubError as error:
            if as_json:
                screen.data({"error": records.error(error)})
            if trace:
                screen.indented(error.route, err=True)
            raise
    if as_json:
        screen.data(records.record(completion, media=media))
    else:
        screen.ending(completion)
    if trace:
        screen.indented(completion.route, err=True)
