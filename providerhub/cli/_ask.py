"""`providerhub ask`, and calls that Ctrl-C ends at once, on every system.

A thread makes the call, and the main thread waits for its pieces in short waits. The main thread must not read itself: Python
notices a signal just before a blocking read only after the read, and under Windows no signal ends a read.
"""

from __future__ import annotations

import contextlib
import contextvars
import threading
from collections.abc import Callable, Generator, Iterator
from queue import Empty, SimpleQueue
from typing import Any

import click

from providerhub import Completion, Hub, ProviderHubError, Stream, StreamInterruptedError
from providerhub._calling.attempt import POLL, Running
from providerhub.cli import _inputs as inputs
from providerhub.cli import _options as options
from providerhub.cli import _screen as screen
from providerhub.cli import _store as store

_GRACE = 0.5  # the most seconds to wait for the end of an interrupted call; a provider may ignore its context


@contextlib.contextmanager
def answering(hub: Hub, *, stream: bool, **call: Any) -> Iterator[tuple[Completion | Stream, Iterator[str]]]:
    """Make a call for the length of a `with` block. Yields the answer and its texts, as they come."""
    running = Running()
    answers: list[Completion | Stream] = []

    def made() -> Iterator[str]:
        answers.append(hub._stoppable(running, stream=stream, patient=False, **call))  # noqa: SLF001 -- it can be stopped
        yield ""
        yield from answers[0] if isinstance(answers[0], Stream) else [answers[0].text]

    def stop() -> None:
        running.stop()
        for answer in answers:
            if isinstance(answer, Stream):
                answer.close()

    with contextlib.closing(_from_thread(made, stop)) as texts:
        next(texts)
        yield answers[0], texts


def _from_thread(made: Callable[[], Iterator[str]], stop: Callable[[], None]) -> Generator[str, None, None]:
    """Yield the items of an iterator that runs in a separate thread. Every exit calls `stop`."""
    results: SimpleQueue[tuple[str | None, BaseException | None]] = SimpleQueue()

    def run() -> None:
        error: BaseException | None = None
        try:
            for text in made():
                results.put((text, None))
        except BaseException as raised:  # raised in the main thread
            error = raised
        results.put((None, error))

    # A daemon: a call that does not end must not keep the process from its end.
    thread = threading.Thread(target=contextvars.copy_context().run, args=(run,), name="providerhub-call", daemon=True)
    try:
        thread.start()  # a signal may come before `start` returns
        while True:
            with contextlib.suppress(Empty):
                text, error = results.get(timeout=POLL)
                if error is not None:
                    raise error
                if text is None:
                    return
                yield text
    finally:
        stop()
        if thread.ident is not None:
            thread.join(_GRACE)


@click.command()
@options.talking
@click.option("-a", "--attach", "files", multiple=True, metavar="FILE|URL", help="Image, PDF, sound or text; - for a pipe.")
@click.option("-t", "--template", metavar="NAME|FILE", help="Text file whose {input} is replaced by PROMPT.")
@click.option("-p", "--param", "values", multiple=True, nargs=2, metavar="NAME VALUE", help="Value of {NAME} in the template.")
@click.option("-o", "--option", "extra", multiple=True, nargs=2, metavar="NAME VALUE", help="Any other option of the call.")
@options.schema
@click.option("--stream/--no-stream", default=True, help="Print the answer as it comes (default), or when it is complete.")
@options.as_json
@options.media
@click.option("--trace", is_flag=True, help="Print the attempts to standard error afterwards.")
@click.argument("prompt", required=False)
def ask(*, models: tuple[str, ...], stream: bool, as_json: bool, trace: bool, prompt: str | None, **more: Any) -> None:
    """Ask a model for an answer to PROMPT. Text from a pipe is added after PROMPT and a blank line.

    Without PROMPT, or with -, the prompt is the text of standard input. Inside a loop that reads lines, add < /dev/null.
    """
    question = {"role": "user", "content": inputs.content(prompt, more["template"], dict(more["values"]), more["files"])}
    talk = store.opened(last=more["last"], name=more["conversation"], save=more["save"])
    call: dict[str, Any] = {"system": talk.system, **options.given(more), **inputs.keywords(more["extra"])}
    if more["schema"] is not None:
        call["response_format"] = inputs.schema(more["schema"])
    heard: list[str] = []
    with Hub() as hub:
        call |= {"model": options.chosen(hub, models, talk.model), "messages": [*talk.messages, question]}
        try:
            with answering(hub, stream=stream and not as_json, **call) as (answer, texts):
                if not as_json:
                    screen.answer(texts, heard, markdown=more["markdown"] and more["schema"] is None)
                completion = answer.completion if isinstance(answer, Stream) else answer
        except (KeyboardInterrupt, ProviderHubError) as error:
            if isinstance(error, KeyboardInterrupt | StreamInterruptedError):  # so that -c continues this conversation
                talk.keep(question, store.part_of_answer(heard), model=call["model"], system=call["system"])
            if trace and isinstance(error, ProviderHubError):
                screen.indented(error.route, err=True)
            raise
    if as_json:
        screen.data(screen.record(completion, media=more["media"]))
    else:
        screen.ending(completion, cost=more["cost"])
    if trace:
        screen.indented(completion.route, err=True)
    talk.keep(question, completion.message, model=call["model"], system=call["system"])
