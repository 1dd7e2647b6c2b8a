"""What a check works with: a service that it scripts, a hub with just this provider, and callers of it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from types import TracebackType
from typing import Any, NoReturn, Self, TypeVar

from providerhub import (
    AllProvidersFailedError,
    Completion,
    Hub,
    ProviderHubError,
    RetryPolicy,
    Settings,
    StreamInterruptedError,
    Timeout,
)
from providerhub_conformance._faults.connection import RecordedRequest
from providerhub_conformance._faults.scripts import chunked, http_response
from providerhub_conformance._faults.server import FaultServer, Scripted
from providerhub_conformance._faults.steps import Script, Step
from providerhub_conformance._kit.clients import AsyncClient, Client, SyncClient
from providerhub_conformance._kit.outcome import CheckFailed, NotApplicable
from providerhub_conformance._kit.subject import Subject
from providerhub_conformance._kit.wire import Asked, Frames, Reply

T = TypeVar("T")
HELLO = Reply(text=("Hello", " there", ", friend"))
"""What the service says when it does not matter what it says."""
ONCE = RetryPolicy(attempts=1, attempts_per_provider=1)


class Bench:
    """All that one run of one check uses; leaving the `with` block gives it back.

    Args:
        subject: The provider under test.
        native: Call through `acomplete`, so that the provider's own `astream` answers.
    """

    def __init__(self, subject: Subject, *, native: bool = False) -> None:
        self.subject = subject
        self.wire = subject.wire
        self.native = native
        self.servers: list[FaultServer] = []
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        # The servers first: whoever still waits for one then gets an end.
        for server in self.servers:
            with contextlib.suppress(Exception):
                server.close()
        self._stack.__exit__(kind, error, trace)
        unread = next((raised for server in self.servers for raised in server.errors), None)
        if unread is not None and not isinstance(error, NotApplicable):
            # A script could not make sense of what it was asked: whatever came of it, this is why.
            raise CheckFailed(f"the wire cannot make sense of the request: {_named(unread)}") from unread

    def enter(self, manager: contextlib.AbstractContextManager[T]) -> T:
        """Use something for as long as the check runs.

        Args:
            manager: What.

        Returns:
            What it gives.
        """
        return self._stack.enter_context(manager)

    # The service.

    def serve(self, *scripts: Scripted, repeat: bool = True) -> FaultServer:
        """Start a service.

        Args:
            scripts: What it plays, one for each request; the last one for every further request.
            repeat: Whether the last one is played for every further request.

        Returns:
            The running server.
        """
        server = FaultServer(*scripts, repeat=repeat)
        self.servers.append(server)
        return server

    def service(self, script: Scripted) -> FaultServer | None:
        """Start a service, for a check that also says something of a provider that has none.

        Args:
            script: What it plays for every request.

        Returns:
            The running server; `None` where there is no wire.
        """
        return self.serve(script) if self.subject.has_wire else None

    def whole(self, reply: Reply) -> Script:
        """Script a whole answer.

        Args:
            reply: What it says.
        """
        return http_response(200, self.wire.answer(reply), {"Content-Type": self.wire.answer_type})

    def streamed(self, *parts: bytes | Step, end: bool = True) -> Script:
        """Script a streamed answer.

        Args:
            parts: Frames, each in a chunk of its own, and steps in between.
            end: Whether the chunked body ends as it should.
        """
        return chunked(parts, headers={"Content-Type": self.wire.stream_type}, end=end)

    def frames(self, reply: Reply = HELLO) -> Frames:
        """The frames of a streamed answer.

        Args:
            reply: What it says.
        """
        return self.wire.stream(reply)

    def answering(self, reply: Reply = HELLO) -> Callable[[RecordedRequest], Script]:
        """Script an answer of the kind that the request asks for.

        Args:
            reply: What it says.
        """
        # Written when they are asked for: where there is no wire, nobody asks.
        return lambda request: self.streamed(*self.frames(reply).all) if self.wire.asked(request).stream else self.whole(reply)

    def by_kind(self, streamed: Script, whole: Script) -> Callable[[RecordedRequest], Script]:
        """Choose a script by what the request asks for.

        Args:
            streamed: For one that asks for a stream.
            whole: For one that does not.
        """
        return lambda request: streamed if self.wire.asked(request).stream else whole

    def refusing(self, status: int, headers: dict[str, str] | None = None, message: str = "no") -> Script:
        """Script a refusal.

        Args:
            status: The HTTP status.
            headers: Further headers.
            message: What the service says.
        """
        return http_response(
            status, self.wire.refusal(status, message), {"Content-Type": self.wire.answer_type, **(headers or {})}
        )

    def asked(self, server: FaultServer, index: int = -1) -> Asked:
        """What a request asked.

        Args:
            server: Who got it.
            index: Which one; the last by default.

        Returns:
            It, in the kit's words.

        Raises:
            CheckFailed: There is none, or it cannot be read.
        """
        requests = server.requests
        if not requests:
            raise CheckFailed("no request reached the service")
        try:
            return self.wire.asked(requests[index])
        except Exception as error:
            shown = requests[index].body[:300]
            raise CheckFailed(
                f"the request cannot be read as the wire has it ({type(error).__name__}: {error}): {shown!r}"
            ) from error

    # The caller.

    @property
    def patient(self) -> Timeout:
        """Phases that no well-behaved call comes near to."""
        seconds = 4 * self.subject.patience
        return Timeout(connect=seconds, first_token=seconds, byte_idle=seconds, token_idle=seconds, total=seconds)

    def hub(self, url: str | None, *, without: frozenset[str] = frozenset(), timeout: Timeout | None = None) -> Hub:
        """Make a hub that has this provider and no other, and tries once.

        Args:
            url: The service's address.
            without: Settings to leave out.
            timeout: The phases; by default long ones.

        Returns:
            The hub.
        """
        config = self.subject.config(url, without=without)
        name = self.subject.name
        settings = Settings(
            providers={name: config}, allow=frozenset({name}), block=frozenset(), autoload=True, retry=ONCE,
            timeout=timeout or self.patient,
        )  # fmt: skip
        return self.enter(Hub(settings))

    def provider(self, hub: Hub) -> Any:
        """The provider object that a hub calls; made unless it was.

        Args:
            hub: A hub of this bench.

        Raises:
            CheckFailed: The provider is not ready.
        """
        instance = hub._registry.instance(self.subject.name)  # noqa: SLF001 -- checks must see the very object that is called
        if instance is None:
            raise CheckFailed(f"there is no usable provider {self.subject.name!r}")
        return instance.provider()

    def client(self, server: FaultServer | str | None, *, timeout: Timeout | None = None, hub: Hub | None = None) -> Client:
        """Somebody who calls the provider.

        Args:
            server: The service, or an address.
            timeout: The phases; by default long ones.
            hub: An existing hub in place of a fresh one.

        Returns:
            The caller, for a synchronous or an asynchronous run of the check.
        """
        url = server.url + self.wire.base if isinstance(server, FaultServer) else server
        hub = hub or self.hub(url, timeout=timeout)
        kind = AsyncClient if self.native else SyncClient
        return self.enter(contextlib.closing(kind(hub, self.subject.target, self.subject.patience)))

    def fails(self, call: Callable[[], object], what: str) -> ProviderHubError:
        """Make a call that must fail, and give what the provider raised.

        Args:
            call: The call.
            what: What went wrong at the service, for the message.

        Returns:
            The error of the attempt: behind an interrupted stream, what interrupted it.

        Raises:
            CheckFailed: It did not fail, or not with an error of the tree.
        """
        return root_cause(self.fails_outright(call, what))

    def fails_outright(self, call: Callable[[], object], what: str) -> ProviderHubError:
        """As `fails`, with the error as the caller gets it.

        Args:
            call: The call.
            what: What went wrong at the service.

        Returns:
            The error.

        Raises:
            CheckFailed: It did not fail, or not with an error of the tree.
        """
        try:
            found = call()
        except CheckFailed:
            raise
        except ProviderHubError as error:
            return error
        except Exception as error:
            raise CheckFailed(f"{what}: the call raised {_named(error)}, which is no error of providerhub's") from error
        raise CheckFailed(f"{what}: the call succeeded all the same, with {_shown(found)}")

    def ways(self, client: Client) -> list[Callable[[], Completion]]:
        """The ways to make a whole call: plainly, and streaming where the model may.

        Args:
            client: Who calls.
        """
        ways: list[Callable[[], Completion]] = [client.complete]
        if self.may_stream:
            ways.append(lambda: read_whole(client))
        return ways

    @property
    def may_stream(self) -> bool:
        """Whether the model is not known to have no streaming."""
        return self.subject.model.supports_stream is not False

    # What does not apply.

    def needs_stream(self) -> None:
        """Go on only where there is streaming.

        Raises:
            NotApplicable: There is none.
        """
        if not self.may_stream:
            raise NotApplicable(f"{self.subject.asked_name} declares that it does not stream")

    def needs_place(self, what: str) -> None:
        """Go on only where the protocol has a place for something.

        Args:
            what: One of `Wire.carries`.

        Raises:
            NotApplicable: It has none.
        """
        if what not in self.wire.carries:
            raise NotApplicable(f"the wire has no place for {what}")

    def fail(self, otherwise: str) -> NoReturn:
        """Fail the check.

        Args:
            otherwise: What was found.

        Raises:
            CheckFailed: Always.
        """
        raise CheckFailed(otherwise)


def read_whole(client: Client, **knobs: Any) -> Completion:
    """Call with streaming, read all, and give the whole.

    Args:
        client: Who calls.
        knobs: As for `complete`.

    Returns:
        The completion.
    """
    reading = client.read(**knobs)
    try:
        reading.rest()
    except BaseException:
        with contextlib.suppress(Exception):
            reading.close()
        raise
    return reading.completion


def root_cause(error: ProviderHubError) -> ProviderHubError:
    """What the provider itself raised, behind what the chain made of it.

    Args:
        error: What the caller got.

    Returns:
        The last attempt's error where there was an attempt, else the error itself.
    """
    if isinstance(error, StreamInterruptedError) and error.cause is not None:
        return error.cause
    attempts = error.attempts if isinstance(error, AllProvidersFailedError) else error.route.attempts
    last = attempts[-1].error if attempts else None
    return last if isinstance(last, ProviderHubError) else error


def _named(error: BaseException) -> str:
    return f"{type(error).__name__} ({str(error)[:200]})"


def _shown(found: object) -> str:
    text = repr(getattr(found, "text", found))
    return text[:200]
