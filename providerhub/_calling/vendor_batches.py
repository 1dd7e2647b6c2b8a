"""Many calls as batches at a vendor, recorded before they are sent, so that no batch is sent twice after a crash.

A journal with lines of JSON records each batch, in this order: the intent with the requests' keys, the vendor's identifier, and
the end of reading. An intent without an identifier is searched in the vendor's list.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import attrs

from providerhub._calling.assembly import Assembly
from providerhub._calling.attempt import Running
from providerhub._calling.intake import CallSpec
from providerhub._calling.many_call import checked_request, error_of_row
from providerhub._calling.many_outcome import Outcome
from providerhub._calling.messages import addressed
from providerhub._calling.output import Output
from providerhub._finding.registry import Registry
from providerhub._log import log as _log
from providerhub._rules.clock import Clock, SystemClock
from providerhub._rules.mapping import map_exception
from providerhub._values import Attempt, Candidate, Prices, Request, Route, errors
from providerhub._values.checks import SECONDS
from providerhub._values.provider import CallContext
from providerhub._values.vendor_batch import VendorBatch

Found = TypeVar("Found")
Asked = tuple[Request, Output | None]  # a request in the vendor's form, and the class of its answer

MOST_ROWS = 5_000  # the most requests of a batch: its results are read at once, and an answer may have 64 MiB
MOST_BYTES = 32 * 1024 * 1024  # the most bytes of the messages of a batch, as JSON
EARLY, LATE = 120.0, 3600.0  # seconds, by the vendor's clock: a batch is created at most so long before or after its intent


@attrs.define(eq=False)
class Held:
    """A batch of the journal: its `tag`, the instance and model, the keys of its requests, and the time of the intent."""

    tag: str
    provider: str
    model: str
    keys: list[str]
    at: float
    id: str = ""
    is_read: bool = False


class Journal:
    """The recorded batches in a file. Each line is on disk before `note` returns."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.held: dict[str, Held] = {}
        lines = self.path.read_bytes().splitlines(keepends=True) if self.path.exists() else []
        if lines and not lines[-1].endswith(b"\n"):  # a crash in the middle of this line: nothing was sent after it
            os.truncate(self.path, sum(map(len, lines[:-1])))
            del lines[-1]
        for number, line in enumerate(lines, 1):
            try:
                self._take(json.loads(line))
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                msg = f"{self.path}:{number} is not a line of a journal of batches; name another file"
                raise errors.ConfigurationError(msg) from error

    def note(self, tag: str, **values: Any) -> None:
        with self.path.open("ab") as file:
            file.write(json.dumps({"tag": tag, **values}).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        self._take({"tag": tag, **values})

    def open(self) -> list[Held]:
        return [held for held in self.held.values() if not held.is_read]

    def _take(self, line: dict[str, Any]) -> None:
        if "keys" in line:
            self.held[line["tag"]] = Held(**line)
        else:
            held = self.held[line["tag"]]
            held.id, held.is_read = line.get("id", held.id), line.get("is_read", held.is_read)


@attrs.define(eq=False)
class VendorBatches:
    """The batches of a hub at vendors; `Hub.batches` is its instance.

    A `WireProvider` with batches has these methods, each a generator of orders like `build`: `batch_create(rows, tag, call)`,
    `batch_get(id)`, `batch_cancel(id)`, `batch_list()` and `batch_results(batch)`. The base class executes the orders, and reads
    the answers and refusals in the results. A batch always goes to the first provider of the plan.
    """

    _clock: Clock
    _registry: Registry
    _specs: Callable[..., CallSpec]
    _plan: Callable[[CallSpec], Sequence[Candidate]]
    _many: Callable[..., Iterable[Outcome]]
    _waiting: Running

    def outcomes(
        self, requests: Iterable[Mapping[str, Any]], journal: str | os.PathLike[str], *, poll: float = 60.0, calls: bool = False
    ) -> Generator[Outcome, None, None]:
        """Send requests as batches, wait for their end, and yield each outcome.

        After a crash, the same call continues and sends nothing twice; it reads earlier results again.

        Args:
            requests: One mapping of `complete`'s arguments for each request. To continue, pass the same requests in the same
                order.
            journal: The file that records the batches; created if it does not exist.
            poll: Seconds between two checks of the batches; a positive number, default 60.
            calls: Whether requests without an answer become ordinary calls. Default false: their outcome is an error.

        Yields:
            One `Outcome` for each request, in any order; its `index` is the request's place.

        Raises:
            ConfigurationError: The file is not a journal of these requests, or several batches of the vendor fit one entry of the
                journal.
            ProviderError: The vendor refused a batch. The journal has the batches that were sent before.
        """
        yield from self._outcomes(requests, journal, poll=poll, calls=calls)

    def _outcomes(self, requests: Iterable[Mapping[str, Any]], *journal: Any, **how: Any) -> Generator[Outcome, None, None]:
        rows = {str(index): request for index, request in enumerate(requests)}
        for key, outcome in self.pairs(rows, *journal, again=True, **how):
            yield attrs.evolve(outcome, index=int(key))

    async def aoutcomes(
        self, requests: Iterable[Mapping[str, Any]], journal: str | os.PathLike[str], *, poll: float = 60.0, calls: bool = False
    ) -> AsyncGenerator[Outcome, None]:
        """`outcomes` in an event loop, with the same arguments and errors. A thread asks the vendors and waits.

        After a cancellation, the thread ends within a second, or with its request.

        Yields:
            One `Outcome` for each request, in any order; its `index` is the request's place.
        """
        over = threading.Event()
        found = self._outcomes(requests, journal, poll=poll, calls=calls, is_over=over.is_set)
        try:
            while (outcome := await _beside(next, found, None)) is not None:
                yield outcome
        finally:
            over.set()

    def pairs(
        self,
        rows: Mapping[str, Mapping[str, Any]],
        journal: str | os.PathLike[str],
        *,
        poll: float,
        calls: bool,
        again: bool = False,
        is_over: Callable[[], bool] = lambda: False,
    ) -> Generator[tuple[str, Outcome], None, None]:
        """Yield each request's key with its outcome, as `outcomes` does, until `is_over` returns true.

        With `again`, batches that were read before are only read again; otherwise their requests are sent once more.
        """
        SECONDS.check(poll, "poll", errors.InvalidRequestError)
        book, rest = Journal(journal), dict(rows)
        self._reconcile(book)
        waiting = [held for held in book.held.values() if held.id and (again or not held.is_read)]
        for held in waiting:
            for key in held.keys:
                rest.pop(key, None)
        bad, requests = self._sent(rest, book)
        waiting += [held for held in book.open() if held not in waiting]
        yield from ((key, Outcome(0, error=error)) for key, error in bad)
        unanswered: list[str] = []
        while waiting:
            for held in tuple(waiting):
                state = self._ask(held.provider, "batch_get", held.id)
                if state.state == "running":
                    continue
                known = {key: requests.get(key) or self._request(rows[key])[1] for key in held.keys if key in rows}
                for key, found in self._results(held, state, known):
                    if found.error is not None and calls:
                        unanswered.append(key)
                    else:
                        yield key, found
                book.note(held.tag, is_read=True)
                waiting.remove(held)
            self._rest(poll if waiting else 0.0, is_over)
            if is_over():
                return
        for outcome in self._many([rows[key] for key in unanswered]) if unanswered else ():
            yield unanswered[outcome.index], outcome

    def _rest(self, seconds: float, is_over: Callable[[], bool]) -> None:
        """Wait, at most until the hub is closed. The next request to a closed hub raises the error."""
        sleep = self._waiting.sleep if isinstance(self._clock, SystemClock) else self._clock.sleep
        end = self._clock.monotonic() + seconds
        while (left := end - self._clock.monotonic()) > 0 and not is_over() and not self._waiting.is_over:
            sleep(min(left, 1.0))

    def states(self, journal: str | os.PathLike[str]) -> list[VendorBatch]:
        """Ask the vendors for the states of the batches of a journal without read results."""
        return self._each(journal, "batch_get")

    async def astates(self, journal: str | os.PathLike[str]) -> list[VendorBatch]:
        """`states` in an event loop."""
        return await _beside(self.states, journal)

    def cancel(self, journal: str | os.PathLike[str]) -> list[VendorBatch]:
        """Cancel the batches of a journal. `outcomes` still yields the answers so far, which cost money."""
        return self._each(journal, "batch_cancel")

    async def acancel(self, journal: str | os.PathLike[str]) -> list[VendorBatch]:
        """`cancel` in an event loop."""
        return await _beside(self.cancel, journal)

    def _each(self, journal: str | os.PathLike[str], method: str) -> list[VendorBatch]:
        book = Journal(journal)
        self._reconcile(book)
        return [self._ask(held.provider, method, held.id) for held in book.open()]

    def _sent(self, rest: Mapping[str, Any], book: Journal) -> tuple[list[tuple[str, Exception]], dict[str, Asked]]:
        """Send the requests without a batch; return the wrong requests, and all requests by key."""
        bad: list[tuple[str, Exception]] = []
        groups: dict[tuple[str, str], list[tuple[str, Request]]] = {}
        requests: dict[str, Asked] = {}
        for key, row in rest.items():
            try:
                candidate, asked = self._request(row, key)
            except Exception as error:  # only this request is wrong; the other requests are sent
                bad.append((key, error_of_row(int(key), error)))
                continue
            requests[key] = asked
            groups.setdefault((candidate.provider, candidate.model), []).append((key, asked[0]))
        for place, group in groups.items():
            for part in _parts(group):
                tag = uuid4().hex[:16]
                book.note(tag, provider=place[0], model=place[1], keys=[key for key, _ in part], at=time.time())
                made = self._ask(place[0], "batch_create", [(f"{tag}-{key}", request) for key, request in part], tag)
                book.note(tag, id=made.id)
        return bad, requests

    def _request(self, row: Mapping[str, Any], key: str = "0") -> tuple[Candidate, Asked]:
        """The provider of a request, and the request in its form."""
        spec = self._specs(stream=False, **checked_request(int(key), row))
        candidate = self._plan(spec)[0]
        instance = self._registry.ready(candidate.provider)
        if not hasattr(instance.provider(), "batch_create"):
            msg = f"{candidate.provider} takes no batches; name a model of a provider that does, such as openai/gpt-5-mini"
            raise errors.CapabilityError(msg, provider=candidate.provider)
        options = spec.options_for(candidate.provider)
        if name := next((name for name in ("extra_headers", "extra_query") if options.get(name)), None):
            msg = f"the option {name} cannot be used: a batch is one HTTP request for all rows; set headers of the provider"
            raise errors.InvalidRequestError(msg)
        messages = addressed(spec.request.messages, instance, _log.info) if spec.has_turns else spec.request.messages
        request = attrs.evolve(spec.request, model=candidate.model, messages=messages, options=options)
        return candidate, (request, spec.output)

    def _reconcile(self, book: Journal) -> None:
        """Find the batches of intents without an identifier. If the vendor does not have a batch, it was never sent."""
        known = {held.id for held in book.held.values()}
        for held in book.open():
            if held.id:
                continue
            listed = [one for one in self._ask(held.provider, "batch_list") if one.id not in known]
            span = range(int(held.at - EARLY), int(held.at + LATE))
            similar = (one for one in listed if not one.tag and int(one.created) in span and one.rows == len(held.keys))
            fitting = [one for one in listed if one.tag == held.tag] or [*similar]
            if len(fitting) > 1:
                names = ", ".join(one.id for one in fitting)
                msg = f"{book.path}: one of these batches at {held.provider} is that of tag {held.tag}: {names}"
                raise errors.ConfigurationError(f'{msg}; append the line {{"tag": "{held.tag}", "id": "…"}} to the file')
            if fitting:
                book.note(held.tag, id=fitting[0].id)
                known.add(fitting[0].id)
            else:
                book.note(held.tag, is_read=True)

    def _results(self, held: Held, batch: VendorBatch, known: dict[str, Asked]) -> Iterator[tuple[str, Outcome]]:
        """The outcomes of a batch by key, matched only by the identifiers of its requests."""
        found = self._ask(held.provider, "batch_results", batch) if batch.state == "ended" else []
        prices = self._prices(held) if found else None
        for custom, status, body in found:
            tag, _, key = custom.partition("-")
            request = known.pop(key, None) if tag == held.tag else None
            if request is not None and status:
                yield key, self._outcome(held, request, status, body, prices)
            elif request is not None:
                yield key, _unanswered(held, body.decode() or "it was cancelled or took too long")
        for key in known:
            yield key, _unanswered(held, batch.reason or "the batch has no result for it")

    def _prices(self, held: Held) -> Prices | None:
        """The prices of the vendor's batches, as its plugin declares them."""
        try:
            prices = self._plan(self._spec_at(held.provider, held.model))[0].prices
        except errors.ProviderHubError:  # the model may be gone in the meantime
            return None
        return None if prices is None else prices.under("batch")

    def _outcome(self, held: Held, asked: Asked, status: int, body: bytes, prices: Prices | None) -> Outcome:
        instance = self._registry.ready(held.provider)
        provider: Any = instance.provider()
        call = CallContext(self._spec_at(held.provider, held.model).timeout)
        if status >= 400:
            refusal = provider.http.redacted(provider.refusal(status, {}, body))
            return Outcome(0, error=map_exception(refusal, provider=held.provider, model=held.model))
        try:
            assembly = Assembly()
            for piece in provider.answered(asked[0], call, body):
                assembly.add(piece)
            route = Route((Attempt(1, held.provider, held.model, "ok", usage=assembly.usage, prices=prices),))
            found = assembly.completion(held.provider, held.model, route)
            parsed = asked[1].read(found) if asked[1] else None
        except Exception as error:
            return Outcome(0, error=map_exception(error, provider=held.provider, model=held.model))
        turn = attrs.evolve(found.turn, **instance.origin) if found.turn else None
        return Outcome(0, attrs.evolve(found, turn=turn, parsed=parsed))

    def _spec_at(self, provider: str, model: str) -> CallSpec:
        return self._specs(model=f"{provider}/{model}", messages="?", stream=False)

    def _ask(self, name: str, method: str, *arguments: Any) -> Any:
        """Execute a method of the instance that holds a batch."""
        found = self._registry.instance(name)
        if found is None or not hasattr(provider := found.provider(), method):
            msg = f"provider {name!r} holds a batch of the journal, and is not installed or takes no batches"
            raise errors.ConfigurationError(msg)
        call = CallContext(self._spec_at(name, "?").timeout)
        extra = (call,) if method == "batch_create" else ()
        result = provider.carry_out(getattr(provider, method)(*arguments, *extra), call)  # type: ignore[attr-defined]
        return attrs.evolve(result, provider=name) if isinstance(result, VendorBatch) else result


async def _beside(function: Callable[..., Found], *arguments: Any) -> Found:
    """Call a function in a thread, without blocking the event loop."""
    import asyncio  # slow to import; a program that has an event loop has imported it

    return await asyncio.to_thread(function, *arguments)


def _parts(rows: list[tuple[str, Request]]) -> Iterator[list[tuple[str, Request]]]:
    part: list[tuple[str, Request]] = []
    size = 0
    for key, request in rows:
        size += (own := len(json.dumps([request.messages, request.tools], default=str)))
        if len(part) >= MOST_ROWS or (part and size > MOST_BYTES):
            yield part
            part, size = [], own
        part.append((key, request))
    yield part


def _unanswered(held: Held, reason: str) -> Outcome:
    msg = f"batch {held.id} at {held.provider} did not answer this request: {reason}"
    return Outcome(0, error=errors.ModelUnavailableError(msg, provider=held.provider, model=held.model, retryable=True))
