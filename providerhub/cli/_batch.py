"""`providerhub batch`: a run sends each line of a file once, and a later run continues where it stopped."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import stat
import sys
import threading
import time
from collections import Counter
from collections.abc import Generator, Iterator, Mapping
from decimal import Decimal
from operator import attrgetter
from pathlib import Path
from types import FrameType
from typing import Any, BinaryIO

import attrs
import click

from providerhub import Completion, Hub, InvalidRequestError, Outcome, ProviderHubError
from providerhub._calling.many import Many
from providerhub._calling.many_outcome import PASSES
from providerhub.cli import _batch_results as results
from providerhub.cli import _inputs as inputs
from providerhub.cli import _options as options
from providerhub.cli import _screen as screen
from providerhub.cli._batch_lines import Form, Job, Line, identity, job
from providerhub.cli._lock import HeldError, locked
from providerhub.cli._progress import Bar

_PASSES = "Maximum number of further tries after a temporary failure, such as a rate limit."
_MODEL = "Model for lines without a model; several are tried in order."
_REPORTED = 20  # the number of bad lines that standard error names; the output names all


_UNEQUAL = {"length": "cut at max_tokens", "content_filter": "filtered"}
"""Finish reasons of incomplete answers → their texts in the summary."""


@attrs.define
class Summary:
    """The counts of a run. `reasons` counts the failures by class, and the answers that were refused, cut or filtered."""

    answered: int = 0
    failed: int = 0
    bad: int = 0
    answered_before: int = 0
    failed_before: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: Decimal = Decimal()
    unpriced: int = 0  # answers whose cost is unknown
    currency: str = ""  # the currency of the cost; costs in "several" cannot be added up
    reasons: Counter[str] = attrs.field(factory=Counter)
    seconds: float = 0.0
    over_budget: str = ""  # the reason why `--max-cost` ended the run
    signal: int = 0  # the number of the signal that ended the run

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C, SIGTERM or the budget ended the run."""
        return bool(self.signal or self.over_budget)

    def add(self, answer: Completion) -> None:
        """Count an answer."""
        self.answered += 1
        usage, cost = answer.usage, answer.cost
        if usage:
            self.input_tokens += usage.input_tokens or 0
            self.output_tokens += usage.output_tokens or 0
        if cost is None:
            self.unpriced += 1
        elif self.currency in {"", cost.currency}:
            self.cost, self.currency = self.cost + cost.amount, cost.currency
        else:
            self.currency, self.unpriced = "several", self.unpriced + 1
        if answer.refusal or answer.finish_reason in _UNEQUAL:
            self.reasons["refusal" if answer.refusal else _UNEQUAL[str(answer.finish_reason)]] += 1

    @property
    def spent(self) -> str:
        """Tokens and cost in a few words; empty when neither is known."""
        known = bool(self.input_tokens or self.output_tokens)
        tokens = f"{self.input_tokens} tokens in, {self.output_tokens} out" if known else ""
        money = f"{self.cost:.4f} {self.currency}" if self.currency not in {"", "several"} else ""
        more = f"{self.unpriced} answer{'s' * (self.unpriced > 1)} of unknown cost" if self.unpriced else ""
        return "; ".join(filter(None, [tokens, " and ".join(filter(None, [money, more]))]))

    @property
    def exit_code(self) -> int:
        """130 after Ctrl-C, 143 after SIGTERM, 1 if a line has no answer, else 0."""
        return 128 + self.signal if self.signal else int(bool(self.failed or self.bad or self.failed_before or self.over_budget))

    def __str__(self) -> str:
        parts = [f"{self.answered} answered", f"{self.failed} failed"]
        others = {"bad": self.bad, "answered before": self.answered_before, "failed before": self.failed_before}
        parts += [f"{count} {name}" for name, count in others.items() if count]
        rate = (self.answered + self.failed) / self.seconds if self.seconds else 0.0
        reasons = ", ".join(f"{count} {name}" for name, count in self.reasons.most_common())
        why = f" ({reasons})" if reasons else ""
        return "; ".join(filter(None, [f"{', '.join(parts)}{why}", f"{self.seconds:.1f} s, {rate:.1f}/s", self.spent]))


class Reader(io.BufferedReader):
    """The input, with its own file descriptor, since a thread that reads it may be blocked at the end of the run."""

    is_blocked = False


@contextlib.contextmanager
def _reading(source: BinaryIO) -> Iterator[Reader]:
    """Read the source through a separate file, since click and Python close their files even while they are read."""
    try:
        raw: io.RawIOBase = io.FileIO(os.dup(source.fileno()), "r")
        raw.name = "standard input" if source is sys.stdin.buffer else source.name  # type: ignore[attr-defined]
    except OSError:  # an object without a file descriptor
        raw = io.BytesIO(source.read())  # type: ignore[assignment]
        raw.name = "standard input"  # type: ignore[attr-defined]
    reader = Reader(raw)
    try:
        yield reader
    finally:
        if not reader.is_blocked:  # `close` would wait for the thread
            reader.close()


@attrs.define(eq=False)
class Batch:
    """One run: it sends the lines of `source` that are not `done`, until the answers have cost `max_cost`."""

    _form: Form
    _source: Reader
    _done: results.Done
    _sink: results.Appender
    _bar: Bar
    _media: bool = False  # whether results have the bytes of images
    _max_cost: float | None = None
    _many: Many | None = None
    _lock: threading.Lock = attrs.field(factory=threading.Lock)  # a thread reads the lines, and writes the results of bad lines
    _last: int = 0
    _ids: dict[int, int] = attrs.field(factory=dict)  # a hash of an id → the first line that has it; about 100 bytes a line
    summary: Summary = attrs.field(factory=Summary)

    def run(self, hub: Hub, **how: Any) -> None:
        """Send the lines that have no result yet; `how` holds the arguments of the schedule."""
        self._many = hub._many(  # noqa: SLF001 -- it can be drained, and keeps the jobs; an application needs neither
            self._jobs(), request=attrgetter("request"), **how
        )
        if self.summary.interrupted:
            self._many.drain()
        self._read(self._many.pairs())
        if not self.summary.interrupted:
            _check_length(self._source, self._last, self._done)

    def run_at_vendor(self, hub: Hub, journal: Path, **how: Any) -> None:
        """Send the lines that have no result yet as batches at their vendors; `how` goes to `VendorBatches.pairs`."""
        jobs = {str(made.line.number): made for made in self._jobs()}
        rows = {key: made.request for key, made in jobs.items()}
        pairs = hub.batches.pairs(rows, journal, is_over=lambda: self.summary.interrupted, **how)
        self._read((jobs[key], outcome) for key, outcome in pairs)

    def _read(self, pairs: Generator[tuple[Job, Outcome], None, None]) -> None:
        start = time.monotonic()
        try:
            with contextlib.closing(pairs):
                for made, outcome in pairs:
                    with self._lock:
                        self._finish(made, outcome)
        finally:
            self._source.is_blocked = self._many is not None and self._many.is_blocked
            self.summary.seconds = time.monotonic() - start

    def stop(self, number: int = 0) -> int:
        """Send nothing more, because of a signal. Returns the number of running calls, for which `run` waits."""
        self.summary.signal = number
        return 0 if self._many is None else self._many.drain()

    def _jobs(self) -> Iterator[Job]:
        for line in self._form.lines(self._source):
            if self.summary.interrupted:
                return
            self._last = line.number
            status = _checked_status(self._source, line, self._done)
            self.summary.answered_before += status == results.OK
            self.summary.failed_before += status == results.FAILED
            first = self._first(line)
            if status:
                continue
            made = job(line, self._form)
            if first != line.number:
                text = f"the id {made.echo['id']!r} is also the id of line {first}; give each line its own id"
                made.problem = InvalidRequestError(text)
            if made.problem:
                with self._lock:
                    self._refuse(made, made.problem)
            else:
                yield made

    def _first(self, line: Line) -> int:
        """The number of the first line with the same id; the line's own number without an id."""
        name = identity(line)
        return line.number if name is None else self._ids.setdefault(hash(json.dumps(name)), line.number)

    def _finish(self, sent: Job, outcome: Outcome) -> None:
        completion = outcome.completion
        again = {"resent": True} if outcome.resent else {}
        if completion is not None:
            self.summary.add(completion)
            self._spend(completion)
            self._write(sent, "ok", {"completion": screen.record(completion, media=self._media), **again})
        elif isinstance(outcome.error, InvalidRequestError):
            text = str(outcome.error).removeprefix(f"requests[{outcome.index}]: ")  # the user knows the number of the line
            self._refuse(sent, InvalidRequestError(text))
        else:
            self.summary.failed += 1
            self.summary.reasons[type(outcome.error).__name__] += 1
            self._write(sent, "failed", {"error": screen.error_record(outcome.error or Exception()), **again})

    def _spend(self, answer: Completion) -> None:
        """End the run if the budget is used up, or if a cost is unknown."""
        summary, most = self.summary, self._max_cost
        if most is None or summary.over_budget:
            return
        if summary.unpriced:
            name = f"{answer.provider}/{answer.model}"
            fix = f'set price_in and price_out under [providers.{answer.provider}.model."{answer.model}"]'
            summary.over_budget = f"--max-cost cannot be kept, because the cost of {name} in one currency is unknown; {fix}"
        elif summary.cost >= most:
            summary.over_budget = f"--max-cost {most:g} is reached"
        if summary.over_budget and self._many is not None:
            self._many.drain()

    def _refuse(self, bad: Job, problem: InvalidRequestError) -> None:
        self.summary.bad += 1
        if self.summary.bad <= _REPORTED:
            screen.line(f"{self._source.name}:{bad.line.number}: {screen.one_line(problem)}", err=True)
        elif self.summary.bad == _REPORTED + 1:
            screen.line(f"{self._source.name}: the output names the other bad lines", err=True)
        self._write(bad, "failed", {"error": screen.error_record(problem)})

    def _write(self, made: Job, status: str, rest: Mapping[str, Any]) -> None:
        self._sink.append(results.record(made.line.number, made.line.digest, status, {**made.echo, **rest}, model=made.model))
        self._bar.step(self.summary.failed + self.summary.bad, self.summary.spent)


def _checked_status(source: Reader, line: Line, done: results.Done) -> int:
    """The status of a line's result, or 0. Raises `click.ClickException` for a result that was recorded for another text."""
    status = done.status(line.number)
    if status and not done.fits(line.number, line.digest):
        fix = "name another file as --output, or remove its result from the output"
        if status == results.FAILED:
            fix = "--retry-failed sends it again as it is now"
        changed = "or --prompt, --system or --schema, has changed" if line.key else "has changed"
        raise click.ClickException(f"{source.name}:{line.number} {changed} since its result was recorded; {fix}")
    return status


def _check_length(source: Reader, last: int, done: results.Done) -> None:
    if done.last > last:
        text = f"{source.name} ends at line {last}, but the output has a result for line {done.last}: the input has changed"
        raise click.ClickException(f"{text}; name another file as --output")


def _count(source: Reader, form: Form, done: results.Done) -> int | None:
    """Check the lines of a file against the results before anything is sent, and count them; `None` for a pipe."""
    if not _is_regular(source):
        return None
    total = last = 0
    for line in form.lines(source):
        _checked_status(source, line, done)
        total, last = total + 1, line.number
    _check_length(source, last, done)
    source.seek(0)
    return total


def _is_regular(file: BinaryIO) -> bool:
    try:
        return stat.S_ISREG(os.fstat(file.fileno()).st_mode)
    except OSError:  # an object without a file descriptor
        return False


@contextlib.contextmanager
def _stopping(batch: Batch, bar: Bar) -> Iterator[None]:
    """On Ctrl-C or SIGTERM, let the running calls finish, since they cost money; on the second signal, leave at once."""

    def stop(number: int, _frame: FrameType | None) -> None:
        if batch.summary.interrupted:
            bar.stop()
            os._exit(128 + number)  # waiting threads would delay a normal exit; the output is whole at any moment
        text = f"Stopping after {batch.stop(number)} calls that are under way; Ctrl-C again leaves at once, and wastes them.\n"
        with contextlib.suppress(OSError):
            os.write(2, text.encode())  # unbuffered: the signal may have interrupted a buffered write

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    ours = [number for number, handler in before.items() if handler is not signal.SIG_IGN]  # a background job ignores signals
    for number in ours:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, before[number])


@contextlib.contextmanager
def _exclusively(path: Path, source: BinaryIO) -> Iterator[None]:
    """Keep other batches from the output."""
    if path.exists() and not path.is_file():
        raise click.ClickException(f"{path} is not a file; name one as --output, or - for standard output")
    if path.exists() and _is_regular(source) and os.path.samestat(path.stat(), os.fstat(source.fileno())):
        raise click.ClickException(f"{path} is the input; name another file as --output")
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(locked(path.with_name(f"{path.name}.lock")))
        except HeldError:
            text = f"another batch is writing to {path}; wait for its end, or name another file as --output"
            raise click.ClickException(text) from None
        except OSError as error:  # the error names the lock file, which the user does not know
            text = f"cannot write in the folder {path.parent}: {error.strerror}; name another file as --output"
            raise click.ClickException(text) from error
        yield


def _check_model(path: Path, model: str | None, done: results.Done) -> None:
    """Refuse to mix the answers of two models in one output."""
    for status, name in (("answers", done.models.get(results.OK)), ("failures", done.models.get(results.FAILED))):
        if name is not None and name != model:
            given = f"--model is {model} now" if model else "there is no --model now"
            fix = f"add --model {name} to continue, or name another file as --output"
            if status == "failures":
                fix += ", or send them again with --retry-failed"
            raise click.UsageError(f"{path} has {status} of --model {name}, and {given}; {fix}")


def _read_results(path: Path, source: Reader, form: Form, *, retry_failed: bool) -> tuple[results.Done, int | None]:
    """The results of earlier runs, and the number of lines; with `retry_failed`, without the failed results."""
    done = results.read(path)
    again = retry_failed and bool(done.counts[results.FAILED])
    if again:
        done.forget_failed()
    _check_model(path, form.named, done)
    total = _count(source, form, done)  # checked before the output is changed
    if again:
        results.drop_failed(path)
    return done, total


def _report(summary: Summary, output: str, refusal: ProviderHubError | None, *, as_json: bool) -> None:
    if as_json:
        ended = {"error": screen.error_record(refusal)} if refusal else {}
        counts = attrs.asdict(summary, recurse=False, filter=attrs.filters.exclude("signal"))
        cost = None if summary.unpriced == summary.answered > 0 else float(summary.cost)  # an unknown cost is not zero
        document = {**counts, "cost": cost, "seconds": round(summary.seconds, 3)}
        screen.data({**document, "interrupted": summary.interrupted, "output": output, **ended})
        return
    screen.line(summary, err=True)
    if summary.over_budget:
        screen.line(f"Stopped: {summary.over_budget}. The same command continues where this one stopped.", err=True)
    elif summary.interrupted:
        screen.line("Interrupted; the same command continues where this one stopped.", err=True)
    elif summary.exit_code and output != "-":
        screen.line(f"The errors are in {output}; --retry-failed sends those lines again.", err=True)


@click.command()
@click.argument("source", metavar="INPUT", type=click.File("rb"))
@click.option("-o", "--output", required=True, type=click.Path(allow_dash=True), help="Results file, or a .csv; - for stdout.")
@click.option("-m", "--model", "models", multiple=True, shell_complete=options.model_names, help=_MODEL)
@click.option("--prompt", help="Message for lines without messages; a field or column replaces {NAME}.")
@options.system
@options.schema
@click.option("--csv", is_flag=True, help="INPUT is CSV with a header, in UTF-8; so is a file that ends with .csv or .tsv.")
@click.option("--concurrency", type=click.IntRange(min=1), default=8, show_default=True, help="Maximum number of calls at once.")
@click.option("--executor", help="The place of the calls, such as processes:4 or dask://host:8786. Default: threads.")
@click.option("--vendor", is_flag=True, help="Send batches to the vendors: answers within a day, at about half the price.")
@click.option("--calls", is_flag=True, help="With --vendor: make ordinary calls for lines that the batches did not answer.")
@click.option("--poll", type=click.FloatRange(1), default=60.0, help="With --vendor: seconds between two checks of a batch.")
@click.option("--passes", type=click.IntRange(min=0), default=PASSES, show_default=True, help=_PASSES)
@click.option("--max-cost", type=click.FloatRange(0, min_open=True), help="Stop sending when the answers have cost this amount.")
@click.option("--retry-failed", is_flag=True, help="Send again the lines that failed in an earlier run.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@options.media
def batch(*, source: BinaryIO, output: str, concurrency: int, retry_failed: bool, as_json: bool, **more: Any) -> None:
    """Send the requests of INPUT, one JSON object per line, and write each result as a line when it comes.

    A line has keywords of complete(), such as {"model": "gpt-4", "messages": "Hello"}. The result repeats your own fields and the
    "id", which must be unique. A row of CSV has only fields, and needs --prompt; commas, semicolons or tabs separate its values.
    After an interruption, the same command sends only the lines without a result. INPUT may be - for standard input. With an
    output NAME.csv or NAME.tsv, the results are in NAME.csv.jsonl, and become a table at the end.
    """
    needs = {"--json": as_json, "--retry-failed": retry_failed, "--vendor": more["vendor"]}
    path, table = _paths(output, [name for name, is_given in needs.items() if is_given])
    with contextlib.ExitStack() as stack:
        reader = stack.enter_context(_reading(source))
        form = _form(str(reader.name), **more)
        hub = stack.enter_context(Hub())
        if form.model is not None:
            options.check(hub, form.model)  # reports once, not on each line, that no provider has the model
        if path is None:
            done = results.Done()
            total, sink = _count(reader, form, done), results.Appender(sys.stdout.buffer)
        else:
            stack.enter_context(_exclusively(path, reader))
            done, total = _read_results(path, reader, form, retry_failed=retry_failed)
            sink = stack.enter_context(results.appending(path))
        bar = stack.enter_context(Bar(total, sum(done.counts.values())))
        run = Batch(form, reader, done, sink, bar, media=more["media"], max_cost=more["max_cost"])
        refusal: ProviderHubError | None = None
        with _stopping(run, bar):
            try:
                if path is not None and more["vendor"]:
                    run.run_at_vendor(hub, path.with_name(f"{path.name}.batches"), poll=more["poll"], calls=more["calls"])
                else:
                    how = {"concurrency": concurrency, "passes": more["passes"], "executor": more["executor"]}
                    run.run(hub, folder=None if path is None else str(path.parent), **how)
            except ProviderHubError as error:
                refusal = error
    if table is not None and path is not None:
        results.write_table(path, table, objects=more["schema"] is not None)
    _report(run.summary, output, refusal, as_json=as_json)
    if refusal is not None:
        text = "the lines without a result were not answered; fix the cause, and run the same command to continue"
        screen.line(f"Error: {screen.one_line(refusal)}; {text}", err=True)
    sys.exit(1 if refusal else run.summary.exit_code)


def _paths(output: str, needed_by: list[str]) -> tuple[Path | None, Path | None]:
    """The file of the results (`None`: standard output), and the table to make from it (`None`: no table)."""
    if output == "-":
        if needed_by:
            raise click.UsageError(f"{needed_by[0]} needs a file as --output")
        return None, None
    path = Path(output).resolve()
    if path.suffix.lower() not in results.SEPARATORS:
        return path, None
    results_path = path.with_name(f"{path.name}.jsonl")
    if path.exists() and not results_path.exists():
        raise click.ClickException(f"{path} exists, and no batch has written it; name another file as --output")
    return results_path, path


def _form(
    name: str, *, models: tuple[str, ...], prompt: str | None, system: str | None, schema: str | None, csv: bool, **_: Any
) -> Form:
    """The form of the lines. A file that ends with .csv or .tsv is a table."""
    separator = "\t" if name.lower().endswith(".tsv") else "," if csv or name.lower().endswith(".csv") else ""
    if separator and prompt is None:
        raise click.UsageError("CSV needs --prompt, such as --prompt 'Classify: {text}', with a column's name in braces")
    if separator and not models:
        raise click.UsageError("CSV needs --model, because its columns are only fields")
    keywords = options.given({"system": system, "response_format": inputs.schema(schema) if schema is not None else None})
    return Form(options.sequence(models) if models else None, prompt, keywords, separator)
