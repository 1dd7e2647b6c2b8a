"""`providerhub batch`: many requests from a file, each sent once, whatever happens in between."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any, BinaryIO

import attrs
import click

from providerhub import Completion, Hub, InvalidRequestError, Outcome
from providerhub.cli import _batch_results as results
from providerhub.cli import _records as records
from providerhub.cli import _screen as screen
from providerhub.cli._batch_lines import Job, Line, job, lines
from providerhub.cli._lock import HeldError, locked
from providerhub.cli._options import model_names
from providerhub.cli._progress import Bar

_REPORTED = 20
"""Bad lines that standard error names one by one; the output has them all."""


@attrs.define
class Summary:
    """What a run has come to.

    Args:
        answered: Lines answered by this run.
        failed: Lines sent by this run that got no answer.
        bad: Lines that are no request.
        answered_before: Lines that an earlier run had an answer for.
        failed_before: Lines that failed in an earlier run, and were not sent again.
        input_tokens: Of this run's answers, as far as providers say.
        output_tokens: The same.
        seconds: How long the run took.
        interrupted: Whether Ctrl-C ended it.
    """

    answered: int = 0
    failed: int = 0
    bad: int = 0
    answered_before: int = 0
    failed_before: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    seconds: float = 0.0
    interrupted: bool = False

    @property
    def exit_code(self) -> int:
        """130 after Ctrl-C, 1 where a line has no answer, else 0."""
        return 130 if self.interrupted else int(bool(self.failed or self.bad or self.failed_before))

    def __str__(self) -> str:
        parts = [f"{self.answered} answered", f"{self.failed} failed"]
        parts += [f"{self.bad} bad"] * bool(self.bad)
        parts += [f"{self.answered_before} answered before"] * bool(self.answered_before)
        parts += [f"{self.failed_before} failed before"] * bool(self.failed_before)
        rate = (self.answered + self.failed) / self.seconds if self.seconds else 0.0
        text = f"{', '.join(parts)}; {self.seconds:.1f} s, {rate:.1f}/s"
        if self.input_tokens or self.output_tokens:
            text += f"; {self.input_tokens} tokens in, {self.output_tokens} out"
        return text


class Batch:
    """One run.

    Args:
        source: The input's name, for messages.
        model: The model to ask where a line names none.
        done: What earlier runs have results for.
        sink: Takes the results.
        bar: Shows how far it is.
    """

    def __init__(self, source: str, model: str | None, done: results.Done, sink: results.Appender, bar: Bar) -> None:
        self._source = _named(source)
        self._model = model
        self._done = done
        self._sink = sink
        self._bar = bar
        self._sent: dict[int, Job] = {}
        self._last = 0
        self.summary = Summary()

    def run(self, hub: Hub, source: Iterable[Line], concurrency: int) -> None:
        """Send what has no result yet.

        Args:
            hub: Whoever answers.
            source: The input.
            concurrency: How many calls are under way at once, at most.

        Raises:
            click.ClickException: The input is not what the results are for.
            OSError: The output cannot be written.
        """
        start = time.monotonic()
        with contextlib.closing(hub.complete_many(self._requests(source), concurrency=concurrency)) as outcomes:
            for outcome in outcomes:
                self._finished(outcome)
        self.summary.seconds = time.monotonic() - start
        if not self.summary.interrupted and self._done.last > self._last:
            raise _shortened(self._source, self._last, self._done.last)

    def stop(self) -> None:
        """Send nothing more, and let what is under way come to its end."""
        self.summary.interrupted = True

    @property
    def under_way(self) -> int:
        """Calls that have no result yet."""
        return len(self._sent)

    def _requests(self, source: Iterable[Line]) -> Iterator[Mapping[str, Any]]:
        number = 0
        for line in source:
            if self.summary.interrupted:
                return
            self._last = line.number
            if self._has_result(line):
                continue
            asked = job(line, self._model)
            if asked.request is None:
                self._bad(asked, asked.problem)
            else:
                self._sent[number] = asked
                number += 1
                yield asked.request

    def _has_result(self, line: Line) -> bool:
        status = _checked(self._source, line, self._done)
        self.summary.answered_before += status == results.OK
        self.summary.failed_before += status == results.FAILED
        return bool(status)

    def _finished(self, outcome: Outcome) -> None:
        asked = self._sent.pop(outcome.index)
        if outcome.completion is not None:
            self._answered(asked, outcome.completion)
        elif isinstance(outcome.error, InvalidRequestError):
            self._bad(asked, outcome.error)
        else:
            self.summary.failed += 1
            self._failed(asked, outcome.error)

    def _answered(self, asked: Job, answer: Completion) -> None:
        self.summary.answered += 1
        if answer.usage:
            self.summary.input_tokens += answer.usage.input_tokens or 0
            self.summary.output_tokens += answer.usage.output_tokens or 0
        self._write(asked, "ok", {"completion": records.completion(answer)})

    def _bad(self, asked: Job, problem: BaseException | None) -> None:
        self.summary.bad += 1
        if self.summary.bad <= _REPORTED:
            screen.line(f"{self._source}:{asked.number}: {screen.one_line(problem or Exception())}", err=True)
        elif self.summary.bad == _REPORTED + 1:
            screen.line(f"{self._source}: more bad lines are named in the output only", err=True)
        self._failed(asked, problem)

    def _failed(self, asked: Job, error: BaseException | None) -> None:
        self._write(asked, "failed", {"error": records.error(error or Exception())})

    def _write(self, asked: Job, status: str, rest: Mapping[str, Any]) -> None:
        self._sink.append(results.record(asked.number, asked.digest, status, {**asked.echo, **rest}))
        self._bar.advance(self.summary.failed + self.summary.bad)


def _named(source: str) -> str:
    return "standard input" if source == "-" else source


def _checked(source: str, line: Line, done: results.Done) -> int:
    """The status of a line's result, or 0.

    Raises:
        click.ClickException: The line is another one than its result is for.
    """
    status = done.status(line.number)
    if status and not done.fits(line.number, line.digest):
        how = "name another file as --output, or take its result out of the output"
        if status == results.FAILED:
            how = "--retry-failed sends it again as it is now"
        msg = f"{source}:{line.number} has changed since its result was recorded; {how}"
        raise click.ClickException(msg)
    return status


def _shortened(source: str, last: int, recorded: int) -> click.ClickException:
    return click.ClickException(
        f"{source} ends at line {last}, but the output has a result for line {recorded}: the input has changed; "
        "name another file as --output"
    )


def _count(source: str, file: BinaryIO, done: results.Done) -> int:
    """Count the lines, and see before anything is sent that they are those that the results are for."""
    total = last = 0
    source = _named(source)
    for line in lines(file):
        _checked(source, line, done)
        total, last = total + 1, line.number
    if done.last > last:
        raise _shortened(source, last, done.last)
    file.seek(0)
    return total


@contextlib.contextmanager
def _stopping(batch: Batch, bar: Bar) -> Iterator[None]:
    """Ctrl-C lets the calls under way finish, since they are paid for; a second one leaves at once."""
    before = signal.getsignal(signal.SIGINT)

    def stop(_number: int, _frame: FrameType | None) -> None:
        if batch.summary.interrupted:
            bar.stop()
            os._exit(130)  # the output is whole at any moment; threads that wait for a provider would not let go
        batch.stop()
        text = f"Stopping after {batch.under_way} calls that are under way; Ctrl-C again leaves at once, and wastes them.\n"
        os.write(2, text.encode())  # not by way of a buffer that may be in use

    if before is signal.SIG_IGN:  # a background job of a shell without job control
        yield
        return
    signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def _input(source: str) -> Iterator[BinaryIO]:
    if source == "-":
        yield sys.stdin.buffer
        return
    with Path(source).open("rb") as file:
        yield file


def _is_regular(file: BinaryIO) -> bool:
    try:
        return stat.S_ISREG(os.fstat(file.fileno()).st_mode)
    except OSError:  # no file of the system's
        return False


@contextlib.contextmanager
def _exclusively(path: Path, source: BinaryIO) -> Iterator[None]:
    """Keep other batches from the output.

    Raises:
        click.ClickException: One is at work, or the output cannot be one.
    """
    if path.exists() and not path.is_file():
        msg = f"{path} is no file; --output - writes to standard output"
        raise click.ClickException(msg)
    if path.exists() and _is_regular(source) and os.path.samestat(path.stat(), os.fstat(source.fileno())):
        msg = f"{path} is the input; name another file as --output"
        raise click.ClickException(msg)
    lock = path.with_name(f"{path.name}.lock")
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(locked(lock))
        except HeldError:
            msg = f"another batch is writing to {path}; wait for its end, or name another file as --output"
            raise click.ClickException(msg) from None
        except OSError as error:  # which would name the lock, of which nobody has heard
            msg = f"nothing can be written in {path.parent}: {error.strerror}; name another file as --output"
            raise click.ClickException(msg) from error
        yield


def _to_file(source: str, path: Path, *, hub: Hub, model: str | None, concurrency: int, retry_failed: bool) -> Summary:
    with _input(source) as file, _exclusively(path, file):
        done = results.read(path)
        again = retry_failed and bool(done.counts[results.FAILED])
        if again:
            done.forget_failed()
        total = _count(source, file, done) if _is_regular(file) else None
        if again:
            results.drop_failed(path)
        with results.appending(path) as sink, Bar(total, sum(done.counts.values())) as bar:
            return _run(Batch(source, model, done, sink, bar), bar, hub, file, concurrency)


def _to_standard_output(source: str, *, hub: Hub, model: str | None, concurrency: int) -> Summary:
    with _input(source) as file:
        done = results.Done()
        total = _count(source, file, done) if _is_regular(file) else None
        with Bar(total, 0) as bar:
            return _run(Batch(source, model, done, results.to_stream(sys.stdout.buffer), bar), bar, hub, file, concurrency)


def _run(batch: Batch, bar: Bar, hub: Hub, file: BinaryIO, concurrency: int) -> Summary:
    with _stopping(batch, bar):
        batch.run(hub, lines(file), concurrency)
    return batch.summary


def _tell(summary: Summary, output: str, *, as_json: bool) -> None:
    if as_json:
        screen.data({**attrs.asdict(summary), "seconds": round(summary.seconds, 3), "output": output})
        return
    screen.line(str(summary), err=True)
    if summary.interrupted:
        screen.line("Interrupted; the same command goes on where this one stopped.", err=True)
    elif summary.exit_code and output != "-":
        screen.line(f"The errors are in {output}; --retry-failed sends those lines again.", err=True)


@click.command()
@click.argument("source", metavar="INPUT", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@click.option(
    "-o", "--output", required=True, type=click.Path(allow_dash=True), help="Where the results go; - is standard output."
)
@click.option("-m", "--model", shell_complete=model_names, help="For lines that name none.")
@click.option("--concurrency", type=click.IntRange(min=1), default=8, show_default=True, help="Calls at once.")
@click.option("--retry-failed", is_flag=True, help="Send the lines again that failed in an earlier run.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def batch(*, source: str, output: str, model: str | None, concurrency: int, retry_failed: bool, as_json: bool) -> None:
    """Send the requests of INPUT, one JSON object a line, and write one line for each result as it comes.

    A line holds keywords of complete(), such as {"model": "gpt-4", "messages": "Hello"}; an "id" and fields of your own come back
    with the result. The same command again, after whatever stopped it, sends only what has no result yet. INPUT may be -.
    """
    to_pipe = output == "-"
    if to_pipe and (as_json or retry_failed):
        msg = f"{'--json' if as_json else '--retry-failed'} needs a file as --output"
        raise click.UsageError(msg)
    with Hub() as hub:
        if model is not None:
            hub.explain(model)  # nobody can serve it: said once, not once a line
        if to_pipe:
            summary = _to_standard_output(source, hub=hub, model=model, concurrency=concurrency)
        else:
            path = Path(output).resolve()
            summary = _to_file(source, path, hub=hub, model=model, concurrency=concurrency, retry_failed=retry_failed)
    _tell(summary, output, as_json=as_json)
    sys.exit(summary.exit_code)
