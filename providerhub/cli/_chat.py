"""`providerhub chat`."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

import click

from providerhub import Completion, Hub, Message, ProviderHubError, Route
from providerhub._values.checks import nearest
from providerhub.cli import _inputs as inputs
from providerhub.cli import _options as options
from providerhub.cli import _screen as screen
from providerhub.cli._app import DEBUG
from providerhub.cli._ask import answering
from providerhub.cli._listings import plan_record
from providerhub.cli._store import Conversation, opened, part_of_answer

HELP = """\
/model [NAME]  ask another model from now on, or show the current one
/file FILE     send an image, a PDF, a sound or a text with the next question
/route         show the attempts of the last answer, and the candidates for the next
/retry         ask the last question again, if it failed or was stopped before an answer
/clear         begin a new conversation, with the same system message
/help          show this help
/quit          leave, as Ctrl-D does
Ctrl-C stops an answer and keeps the conversation. A line that begins with // is sent as a question, with one slash."""

COMMANDS = [line.split()[0] for line in HELP.splitlines() if line.startswith("/")]


class Lines:
    """Reads lines. In a terminal, `complete` gets the line so far and its last word, and returns the completions."""

    def __init__(self, complete: Callable[[str, str], Sequence[str]]) -> None:
        self.interactive = sys.stdin.isatty()
        self._editing = self.interactive and sys.stdout.isatty()
        self._encoding = sys.stdin.encoding if self.interactive else "utf-8"
        self._complete = complete
        self._offers: Sequence[str] = ()
        self._readline: ModuleType | None = None
        if self._editing:
            with contextlib.suppress(ImportError):  # Windows has no readline
                self._readline = self._prepared()

    def _prepared(self) -> ModuleType:
        import readline  # only for a terminal: its import may write to the output

        readline.set_completer_delims(" ")
        readline.set_completer(self._offer)
        libedit = "libedit" in (readline.__doc__ or "")
        readline.parse_and_bind("bind ^I rl_complete" if libedit else "tab: complete")
        return readline

    def read(self, prompt: str) -> str | None:
        """Wait for a line, with a prompt in a terminal. Returns it without its end, or `None` at the end of the input.

        Raises:
            click.ClickException: The line cannot be decoded; the next call reads the next line.
        """
        try:
            if self._editing:
                return input(prompt)
            if self.interactive:
                click.echo(prompt, err=True, nl=False)
            raw = sys.stdin.buffer.readline()
            return raw.decode(self._encoding).rstrip("\r\n") if raw else None
        except EOFError:
            return None
        except UnicodeDecodeError as error:
            place = f"{error.reason} at byte {error.start + 1}"
            raise click.ClickException(f"this line is skipped, because it is not {self._encoding} text: {place}") from None

    def _offer(self, word: str, number: int) -> str | None:
        """Readline calls this with 0, 1, 2, ... until it returns `None`."""
        if number == 0:
            line = self._readline.get_line_buffer() if self._readline else ""
            self._offers = ()
            with contextlib.suppress(Exception):  # readline would print it into the line
                self._offers = self._complete(line, word)
        return self._offers[number] if number < len(self._offers) else None


class Chat:
    """A conversation. It reads lines until the input ends; each line is a question or a command."""

    def __init__(self, ctx: click.Context, hub: Hub, model: Any, talk: Conversation, keywords: Mapping[str, Any]) -> None:
        self._ctx = ctx
        self._as_json = ctx.params["as_json"]
        self._hub = hub
        self._model = model
        self._keywords = {"emulate_stream": True, **keywords}  # an answer of a model that cannot stream comes in one piece
        self._talk = talk
        self._parts: list[dict[str, Any]] = []  # the parts of the next question
        self._unanswered: Any = None
        self._last: Route | None = None
        self._lines = Lines(self._offers)
        self.interactive = self._lines.interactive and not self._as_json  # a program reads JSON
        self.failures = 0
        self._has_heard = False

    @property
    def _asked(self) -> str:
        return self._model if isinstance(self._model, str) else ", ".join(self._model)

    def check(self, model: Any) -> None:
        """Raise `CallerError` if no provider can answer the next question."""
        options.check(self._hub, model, self._with("?"), stream=True, **self._keywords)

    def run(self) -> None:
        """Answer until the input ends, or `/quit`. Ctrl-C is raised while the lines come from a pipe.

        Raises:
            click.UsageError: A pipe holds no line.
        """
        if self.interactive:
            start = "The conversation goes on with" if self._talk.messages else "You are talking to"
            self._note(f"{start} {self._asked}. /help lists the commands; Ctrl-D leaves.")
        going = True
        while going:
            try:
                going = self._turn()
            except KeyboardInterrupt:
                if not self.interactive:
                    raise
                self._note("")
            except (ProviderHubError, click.ClickException) as error:
                self._fail(error)
        if not self._has_heard and not self._lines.interactive:
            raise click.UsageError("standard input is empty; give a question on each line")

    def _turn(self) -> bool:
        line = self._lines.read(f"{self._asked}> ")
        if line is None:
            if self.interactive:
                self._note("")
            return False
        text = line.strip()
        self._has_heard = self._has_heard or bool(text)
        if text in {"/quit", "/exit"}:
            return False
        if text.startswith("/") and not text.startswith("//"):
            self._command(*text.partition(" ")[::2])
        elif text:
            question = line[line.index("/") + 1 :] if text.startswith("//") else line
            self._ask([{"type": "text", "text": question}, *self._parts] if self._parts else question)
        return True

    def _ask(self, question: Any) -> None:
        """Ask a question and write the answer as it comes. Keep both if a part of the answer came, even after Ctrl-C."""
        self._unanswered, self._last = question, None
        heard: list[str] = []
        try:
            answer = self._answered(question, heard)
        except KeyboardInterrupt:
            if any(heard):
                self._keep(question, part_of_answer(heard))
            if not self.interactive:
                raise
            if any(heard):
                self._note("Stopped; the conversation continues with this part of the answer.")
            else:
                self._note("Stopped before an answer; the question is not kept, and /retry asks it again.")
        except ProviderHubError as error:
            self._last = error.route
            raise
        else:
            self._write(answer=screen.record(answer)) if self._as_json else screen.ending(answer, cost=self._ctx.params["cost"])
            self._keep(question, answer.message)

    def _answered(self, question: Any, heard: list[str]) -> Completion:
        call = {"model": self._model, "messages": self._with(question), **self._keywords}
        with answering(self._hub, stream=True, **call) as (stream, texts):
            try:
                if self._as_json:
                    heard.extend(texts)
                else:
                    screen.answer(texts, heard, markdown=self._ctx.params["markdown"])
            finally:
                self._last = stream.route
            return stream.completion  # type: ignore[union-attr]  # a stream, as asked for

    def _with(self, question: Any) -> list[Message]:
        return [*self._talk.messages, {"role": "user", "content": question}]

    def _keep(self, question: Any, answer: Message) -> None:
        self._talk.keep({"role": "user", "content": question}, answer, model=self._model, system=self._keywords.get("system"))
        self._unanswered = None
        self._parts.clear()

    def _command(self, name: str, rest: str) -> None:
        rest = rest.strip()
        if name == "/model":
            if rest:
                self.check(rest)
                self._model = rest
            self._note(f"The model is {self._asked}.")
        elif name == "/file":
            if not rest:
                raise click.ClickException("/file needs the path or the address of a file")
            self._parts.append(inputs.attachment(rest))
            self._note(f"{rest} goes with the next question.")
        elif name == "/route":
            self._show_route()
        elif name == "/retry":
            if self._unanswered is None:
                raise click.ClickException("there is no question to ask again: the last one was answered")
            self._ask(self._unanswered)
        elif name == "/clear":
            self._talk = opened(last=False, name=None, save=self._talk.path is not None)
            self._unanswered = self._last = None
            self._parts.clear()
            self._note("A new conversation begins.")
        elif name == "/help":
            self._note(HELP)
        else:
            fix = nearest(name, COMMANDS, "/help lists the commands")
            raise click.ClickException(f"unknown command {name}; {fix} (to send the line as a question, begin it with //)")

    def _show_route(self) -> None:
        plan = self._hub.explain(self._model, self._with("?"), stream=True, **self._keywords)
        if self._as_json:
            self._write(route=self._last and screen.record(self._last), plan=plan_record(plan))
            return
        if self._last:
            self._note("The attempts of the last answer:")
            screen.indented(self._last, err=True)
        self._note("The candidates for the next:")
        screen.indented(plan, err=True)

    def _fail(self, error: ProviderHubError | click.ClickException) -> None:
        self.failures += 1
        if self._as_json:
            self._write(error=screen.error_record(error))
            return
        text = screen.as_click(error, debug=self._ctx.meta.get(DEBUG, False)).format_message()
        if self._unanswered and isinstance(error, ProviderHubError) and self.interactive:
            text += "; /retry asks again, /model NAME asks another model"
        self._note(f"Error: {text}")

    def _note(self, text: str) -> None:
        """Write a note to standard error, or as a line of JSON."""
        if self._as_json:
            self._write(note=text)
        else:
            screen.line(text, err=True)

    def _write(self, **event: Any) -> None:
        screen.data(event, indent=None)

    def _offers(self, line: str, word: str) -> Sequence[str]:
        if line.startswith("/model "):
            return options.model_names(self._ctx, self._ctx.command.params[0], word)
        names = [f"{name} " if name in {"/model", "/file"} else name for name in COMMANDS]  # these two take an argument
        return [name for name in names if line.startswith("/") and name.startswith(word)]


@click.command()
@options.talking
@options.as_json
@click.pass_context
def chat(ctx: click.Context, /, *, models: tuple[str, ...], last: bool, save: bool, **more: Any) -> None:
    """Talk with a model. Each line is a question; the model gets the whole conversation.

    Answers go to standard output, everything else to standard error. The conversation is saved; `chat -c` continues it. --json
    prints a line of JSON for each: {"answer": ...}, {"error": ...}, {"note": ...}, or {"route": ..., "plan": ...} for /route.
    """
    talk = opened(last=last, name=more["conversation"], save=save)
    with Hub() as hub:
        model = options.chosen(hub, models, talk.model)
        running = Chat(ctx, hub, model, talk, options.given({"system": talk.system}) | options.given(more))
        running.check(model)  # raises for an unknown model before the first question
        running.run()
    if running.failures and not running.interactive:
        sys.exit(1)
