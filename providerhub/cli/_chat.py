"""`providerhub chat`: the conversation, and what a line in it may be."""

from __future__ import annotations

import difflib
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

from providerhub import Hub, Message, ProviderHubError, Route, Stream
from providerhub.cli import _options as options
from providerhub.cli import _screen as screen
from providerhub.cli._app import DEBUG
from providerhub.cli._failures import line as failure_line
from providerhub.cli._lines import Lines

INTERRUPTED = " [interrupted]"
"""Stands behind an answer that was stopped, so that the model knows as well."""

HELP = """\
/model [NAME]  ask another model from now on, or show which one is asked
/route         show how the last answer came, and what would be tried for the next
/retry         ask a question again that failed or was stopped before an answer
/clear         forget the conversation, but not the system message
/help          show this
/quit          leave; so does Ctrl-D
Ctrl-C stops an answer and keeps the conversation. A line that begins with // is sent with one of the two."""


class Conversation:
    """The messages so far, and a model to ask.

    Args:
        hub: Whoever answers.
        model: The model to ask.
        system: The system message, if there is one.
        knobs: Keywords of every call.
    """

    def __init__(self, hub: Hub, model: str, system: str | None, knobs: Mapping[str, Any]) -> None:
        self._hub = hub
        self.model = model
        self._opening = options.opening(system)
        self._knobs = {"emulate_stream": True, **knobs}  # a model that cannot stream is better heard late than not at all
        self._messages: list[Message] = []
        self.unanswered: str | None = None
        self.route: Route | None = None

    def clear(self) -> None:
        """Forget all but the system message."""
        self._messages.clear()
        self.unanswered = self.route = None

    def plan(self, model: str) -> str:
        """What would be tried for the next question.

        Args:
            model: The model to ask.

        Raises:
            CallerError: Nobody can serve it.
        """
        return str(self._hub.explain(model, self._with("?"), stream=True, **self._knobs))

    def ask(self, question: str) -> bool:
        """Ask a question, and write the answer as it comes; it is kept only with an answer.

        Args:
            question: What the user says.

        Returns:
            Whether the answer is whole; otherwise Ctrl-C stopped it.

        Raises:
            ProviderHubError: There is no answer, or not all of it.
        """
        self.unanswered, self.route = question, None
        pieces: list[str] = []
        try:
            refusal = self._stream(question, pieces)
        except KeyboardInterrupt:
            if any(pieces):
                self._keep(question, "".join(pieces) + INTERRUPTED)
            return False
        except ProviderHubError as error:
            self.route = error.route
            raise
        finally:
            if pieces and not pieces[-1].endswith("\n"):
                screen.piece("\n")
        self._keep(question, "".join(pieces) or refusal)
        return True

    def _stream(self, question: str, pieces: list[str]) -> str:
        stream: Stream = self._hub.complete(self.model, self._with(question), stream=True, **self._knobs)
        with stream:
            try:
                for text in stream:
                    pieces.append(text)
                    screen.piece(text)
            finally:
                self.route = stream.route
            refusal = stream.completion.refusal or ""
        if refusal:
            screen.line(f"The model declined: {refusal}", err=True)
        return refusal

    def _with(self, question: str) -> list[Message]:
        return [*self._opening, *self._messages, {"role": "user", "content": question}]

    def _keep(self, question: str, answer: str) -> None:
        self._messages += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        self.unanswered = None


class Session:
    """Reads lines until the last: each is a question or a command.

    Args:
        talk: The conversation.
        ctx: The command's context.
    """

    def __init__(self, talk: Conversation, ctx: click.Context) -> None:
        self._talk = talk
        self._ctx = ctx
        self._lines = Lines(self._offers)
        self.failures = 0
        self._commands: dict[str, Callable[[str], None]] = {
            "/model": self._model,
            "/route": self._route,
            "/retry": self._retry,
            "/clear": self._clear,
            "/help": lambda _: screen.line(HELP, err=True),
        }

    @property
    def interactive(self) -> bool:
        """Whether a person types the lines."""
        return self._lines.interactive

    def run(self) -> None:
        """Answer until the input ends or says so.

        Raises:
            KeyboardInterrupt: Ctrl-C where nobody types, so that nobody could go on.
        """
        if self.interactive:
            screen.line(f"You are talking to {self._talk.model}. /help shows what can be done; Ctrl-D leaves.", err=True)
        going = True
        while going:
            try:
                going = self._turn()
            except KeyboardInterrupt:
                if not self.interactive:
                    raise
                screen.line("", err=True)
            except (ProviderHubError, click.ClickException) as error:
                self._failed(error)

    def _turn(self) -> bool:
        line = self._lines.read(f"{self._talk.model}> ")
        if line is None:
            if self.interactive:
                screen.line("", err=True)
            return False
        text = line.strip()
        if text in {"/quit", "/exit"}:
            return False
        if text.startswith("/") and not text.startswith("//"):
            self._command(text)
        elif text:
            self._ask(line[line.index("/") + 1 :] if text.startswith("//") else line)
        return True

    def _ask(self, question: str) -> None:
        if self._talk.ask(question):
            return
        if not self.interactive:
            raise KeyboardInterrupt
        if self._talk.unanswered:
            screen.line("Stopped before an answer; the question is not kept, and /retry asks it again.", err=True)
        else:
            screen.line("Stopped; the conversation goes on with what had come.", err=True)

    def _command(self, text: str) -> None:
        name, _, rest = text.partition(" ")
        if name not in self._commands:
            near = difflib.get_close_matches(name, [*self._commands, "/quit"], 1)
            meant = f"did you mean {near[0]}?" if near else "/help lists them"
            msg = f"there is no command {name}; {meant} (to send it as a question, begin with //)"
            raise click.ClickException(msg)
        self._commands[name](rest.strip())

    def _model(self, name: str) -> None:
        if name:
            self._talk.plan(name)
            self._talk.model = name
        screen.line(f"The model is {self._talk.model}.", err=True)

    def _route(self, _rest: str) -> None:
        if self._talk.route:
            screen.line("The last answer:", err=True)
            screen.route(self._talk.route, err=True)
        screen.line("What would be tried for the next:", err=True)
        for text in self._talk.plan(self._talk.model).splitlines():
            screen.line(f"  {text}", err=True)

    def _retry(self, _rest: str) -> None:
        if self._talk.unanswered is None:
            msg = "no question is waiting: the last one was answered"
            raise click.ClickException(msg)
        self._ask(self._talk.unanswered)

    def _clear(self, _rest: str) -> None:
        self._talk.clear()
        screen.line("The conversation is forgotten.", err=True)

    def _failed(self, error: ProviderHubError | click.ClickException) -> None:
        self.failures += 1
        if self._ctx.meta.get(DEBUG):
            click.echo("".join(traceback.format_exception(error)), err=True, nl=False)
        text = error.format_message() if isinstance(error, click.ClickException) else failure_line(error)
        if self._talk.unanswered and isinstance(error, ProviderHubError) and self.interactive:
            text += "; /retry asks again, /model NAME asks another model"
        screen.line(f"Error: {text}", err=True)

    def _offers(self, line: str, word: str) -> Sequence[str]:
        if line.startswith("/model "):
            return options.model_names(self._ctx, self._ctx.command.params[0], word)
        names = ["/model " if name == "/model" else name for name in (*self._commands, "/quit")]  # it takes a word more
        return [name for name in names if line.startswith("/") and name.startswith(word)]


@click.command()
@options.model
@options.knobs
@click.pass_context
def chat(ctx: click.Context, /, *, model: str, system: str | None, **knobs: Any) -> None:
    """Talk with MODEL: each line is a question, and the model is told what was said before.

    In a pipe, answers go to standard output and everything else to standard error.
    """
    with Hub() as hub:
        talk = Conversation(hub, model, system, options.given(knobs))
        talk.plan(model)  # a name that nobody knows is said now, not after the first question has been typed
        session = Session(talk, ctx)
        session.run()
    if session.failures and not session.interactive:
        sys.exit(1)
