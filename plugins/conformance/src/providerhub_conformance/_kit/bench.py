"""The tools of a check: a scripted service, a hub with this provider only, and callers."""

from __future__ import annotations

import contextlib
import functools
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
"""The answer of the service in checks that need any answer."""
ONCE = RetryPolicy(attempts=1, attempts_per_provider=1, retry_after_max=0)
"""One attempt, and no wait for the end of a rate limit, which would be free."""


class Bench:
    """The servers, hubs and callers of one run of one check. The end of the `with` block closes them.

    Args:
        subject: The provider under test.
        native: Whether to call through `acomplete`, so that the provider's own `astream` answers.
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
        # The servers end first, which ends the callers that still wait for them.
        for server in self.servers:
            with contextlib.suppress(Exception):
                server.close()
        self._stack.__exit__(kind, error, trace)
        unread = next((raised for server in self.servers for raised in server.errors), None)
        if unread is not None and not isinstance(error, NotApplicable):
            # A script could not read its request. That explains any other failure.
            raise CheckFailed(f"the wire cannot read the request: {_named(unread)}") from unread

    def enter(self, manager: contextlib.AbstractContextManager[T]) -> T:
        """Enter a context manager until the end of the check.

        Args:
            manager: The context manager.

        Returns:
            The value of its `with` statement.
        """
        return self._stack.enter_context(manager)

    # The service.

    def serve(self, *scripts: Scripted, repeat: bool = True) -> FaultServer:
        """Start a service.

        Args:
            scripts: The scripts, one for each request.
            repeat: Whether the last script is played again for every further request.

        Returns:
            The running server.
        """
        server = FaultServer(*scripts, repeat=repeat, aside=self._aside)
        self.servers.append(server)
        return server

    def _aside(self, request: RecordedRequest) -> Script | None:
        body = self.wire.aside(request)
        return None if body is None else http_response(200, body, {"Content-Type": self.wire.answer_type})

    def service(self, script: Scripted) -> FaultServer | None:
        """Start a service, in a check that also applies to providers without a wire.

        Args:
            script: The script for all requests.

        Returns:
            The running server; `None` without a wire.
        """
        return self.serve(script) if self.subject.has_wire else None

    def whole(self, reply: Reply) -> Script:
        """Script a whole answer.

        Args:
            reply: The content of the answer.
        """
        return http_response(200, self.wire.answer(reply), {"Content-Type": self.wire.answer_type})

    def streamed(self, *parts: bytes | Step, end: bool = True) -> Script:
        """Script a streamed answer.

        Args:
            parts: Frames and steps. Each frame is one chunk.
            end: Whether the last chunk, of size 0, follows.
        """
        return chunked(parts, headers={"Content-Type": self.wire.stream_type}, end=end)

    def frames(self, reply: Reply = HELLO) -> Frames:
        """The frames of a streamed answer.

        Args:
            reply: The content of the answer.
        """
        return self.wire.stream(reply)

    def answering(self, reply: Reply = HELLO) -> Callable[[RecordedRequest], Script]:
        """Script an answer that is streamed or whole, as the request asks.

        Args:
            reply: The content of the answer.
        """
        # The answer is written when a request arrives, so that this also works without a wire.
        return lambda request: self.streamed(*self.frames(reply).all) if self.wire.asked(request).stream else self.whole(reply)

    def by_kind(self, streamed: Script, whole: Script) -> Callable[[RecordedRequest], Script]:
        """Choose between two scripts, as the request asks.

        Args:
            streamed: The script for a request that asks for a stream.
            whole: The script for any other request.
        """
        return lambda request: streamed if self.wire.asked(request).stream else whole

    def refusing(self, status: int, headers: dict[str, str] | None = None, message: str = "no") -> Script:
        """Script a refusal.

        Args:
            status: The HTTP status.
            headers: Further headers of the answer.
            message: The message of the service.
        """
        own = {"Content-Type": self.wire.answer_type, **self.wire.refusal_headers(status)}
        return http_response(status, self.wire.refusal(status, message), {**own, **(headers or {})})

    def asked(self, server: FaultServer, index: int = -1) -> Asked:
        """Read a request that a service got.

        Args:
            server: The service.
            index: The index of the request; the last one by default.

        Returns:
            The content of the request.

        Raises:
            CheckFailed: There is no request, or the wire cannot read it.
        """
        requests = server.requests
        if not requests:
            raise CheckFailed("no request reached the service")
        try:
            return self.wire.asked(requests[index])
        except Exception as error:
            shown = requests[index].body[:300]
            raise CheckFailed(f"the wire cannot read the request ({type(error).__name__}: {error}): {shown!r}") from error

    # The caller.

    @property
    def patient(self) -> Timeout:
        """Timeouts that no good call reaches."""
        seconds = 4 * self.subject.patience
        return Timeout(connect=seconds, first_token=seconds, byte_idle=seconds, token_idle=seconds, total=seconds)

    def hub(self, url: str | None, *, without: frozenset[str] = frozenset(), timeout: Timeout | None = None) -> Hub:
        """Make a hub with this provider only and without retries.

        Args:
            url: The address of the service.
            without: The names of settings to leave out.
            timeout: The timeouts of the phases; `patient` by default.

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
        """The provider object that a hub calls. The first use makes it.

        Args:
            hub: A hub of this bench.

        Returns:
            The object.

        Raises:
            CheckFailed: The provider is not ready.
        """
        instance = hub._registry.instance(self.subject.name)  # noqa: SLF001 -- checks need the very object that the hub calls
        if instance is None:
            raise CheckFailed(f"there is no usable provider {self.subject.name!r}")
        return instance.provider()

    def client(self, server: FaultServer | str | None, *, timeout: Timeout | None = None, hub: Hub | None = None) -> Client:
        """Make a caller of the provider.

        Args:
            server: The service, or its address.
            timeout: The timeouts of the phases; `patient` by default.
            hub: An existing hub; a new one by default.

        Returns:
            The caller. It is synchronous or asynchronous, like the run of the check.
        """
        url = server.url + self.wire.base if isinstance(server, FaultServer) else server
        hub = hub or self.hub(url, timeout=timeout)
        kind = AsyncClient if self.native else SyncClient
        return self.enter(contextlib.closing(kind(hub, self.subject.target, self.subject.patience)))

    def fails(self, call: Callable[[], object], what: str) -> ProviderHubError:
        """Make a call that must fail, and return the error of the provider.

        Args:
            call: The call.
            what: The name of the fault at the service, for the message.

        Returns:
            The error of the attempt. For an interrupted stream it is the cause of the interruption.

        Raises:
            CheckFailed: The call did not fail, or its error is not a `ProviderHubError`.
        """
        return root_cause(self.fails_outright(call, what))

    def fails_outright(self, call: Callable[[], object], what: str) -> ProviderHubError:
        """Make a call that must fail, and return the error that the caller gets.

        Args:
            call: The call.
            what: The name of the fault at the service, for the message.

        Returns:
            The error.

        Raises:
            CheckFailed: The call did not fail, or its error is not a `ProviderHubError`.
        """
        try:
            found = call()
        except CheckFailed:
            raise
        except ProviderHubError as error:
            return error
        except Exception as error:
            raise CheckFailed(f"{what}: the call raised {_named(error)}, which is not a ProviderHubError") from error
        raise CheckFailed(f"{what}: the call succeeded, with {_shown(found)}")

    def ways(self, client: Client) -> list[Callable[[], Completion]]:
        """The ways to make a call: plain, and streaming unless the model declares that it cannot.

        Args:
            client: The caller.
        """
        ways: list[Callable[[], Completion]] = [client.complete]
        if self.may_stream:
            ways.append(lambda: read_whole(client))
        return [functools.partial(self._forgiven, client, way) for way in ways]

    def _forgiven(self, client: Client, way: Callable[[], Completion]) -> Completion:
        """Make a call after forgetting earlier refusals, which would pause the provider."""
        client.hub.forgive(self.subject.name)
        return way()

    @property
    def may_stream(self) -> bool:
        """Whether the model may be able to stream."""
        return self.subject.model.supports_stream is not False

    # Checks that do not apply.

    def needs_stream(self) -> None:
        """Go on only when the model may be able to stream.

        Raises:
            NotApplicable: The model declares that it cannot.
        """
        if not self.may_stream:
            raise NotApplicable(f"{self.subject.asked_name} declares that it does not stream")

    def needs_place(self, what: str) -> None:
        """Go on only when the protocol can carry a feature.

        Args:
            what: The feature, as in `Wire.carries`.

        Raises:
            NotApplicable: The protocol cannot carry it.
        """
        if what not in self.wire.carries:
            raise NotApplicable(f"the wire cannot carry {what}")

    def fail(self, otherwise: str) -> NoReturn:
        """Fail the check.

        Args:
            otherwise: The finding.

        Raises:
            CheckFailed: Always.
        """
        raise CheckFailed(otherwise)


def read_whole(client: Client, **knobs: Any) -> Completion:
    """Call with streaming, and read the whole stream.

    Args:
        client: The caller.
        knobs: Keywords, as for `complete`.

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
    """Find the error of the provider in the error of a call.

    Args:
        error: The error that the caller got.

    Returns:
        The error of the last attempt; without an attempt, the error itself.
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
