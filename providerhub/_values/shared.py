"""The state that the processes of an application share through a store, and the interface of a store."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol
from urllib.parse import urlsplit

import attrs

from providerhub._values.checks import SECONDS, TEXT, Check, one_of, shape
from providerhub._values.config import Secret, wrapped
from providerhub._values.value import Value, frozen, public

ON_OUTAGE = ("local", "refuse")
"""The values of `on_outage`."""


def _is_url(value: object) -> bool:
    return isinstance(value, Secret) and bool(value.source or urlsplit(value.reveal()).scheme)


@frozen(eq=False, repr=False)
class Shared(Value):
    """The store through which several processes share their state.

    Args:
        url: The address of the store, such as `"redis://127.0.0.1:6379/0"`. Its scheme names the plugin: an entry point of the
            group `providerhub.shared`. It is kept as a `Secret`, since it may contain a password. Without an address nothing is
            shared.
        namespace: The processes with the same namespace share their state. Default `"providerhub"`.
        on_outage: The treatment of shared limits while the store does not answer. `"local"`, the default: each process keeps to
            the limits alone. `"refuse"`: calls at a provider with limits go elsewhere, or fail.
        answer: Seconds, default 0.005, in which the store must answer a call that needs a turn. After this time, `on_outage`
            applies. A store on another machine may need more.
    """

    url: Secret | None = attrs.field(
        default=None,
        converter=wrapped,
        validator=Check("an address with a scheme, such as 'redis://127.0.0.1:6379/0'", _is_url, shape).or_none,
    )
    namespace: str = attrs.field(default="providerhub", validator=TEXT, kw_only=True)
    on_outage: str = attrs.field(default="local", validator=one_of(ON_OUTAGE), kw_only=True)
    answer: float = attrs.field(default=0.005, validator=SECONDS, kw_only=True)


@frozen(eq=False, repr=False)
class Fact(Value):
    """A statement of a provider about an account or a model. It holds for every process with the same account.

    Args:
        scope: The account: the provider's host, and a keyed digest of its settings and its key. The key cannot be read from it.
        model: The model, or the declared model that matched; `""` for the whole account.
        what: `"rate limited"`, `"quota used up"`, `"key rejected"`, `"forbidden"`; a missing capability, such as `"no images"`;
            or `"forgiven"` when an operator has lifted all of these.
        seconds: The duration of the statement from now, in seconds. Not a time, since the clocks of two machines may differ.
    """

    scope: str
    model: str
    what: str
    seconds: float


@frozen(eq=False, repr=False)
class Claim(Value):
    """The request of a call for a turn at a provider with shared limits.

    Args:
        id: The unique name of the claim.
        lanes: The model and the account, if they have limits. Each is a tuple of its name, the maximum calls at once, the seconds
            between the starts of two calls, and the maximum tokens per minute; `None` for no such limit.
        tokens: The tokens that the call may use.
    """

    id: str
    lanes: tuple[tuple[str, int | None, float | None, float | None], ...]
    tokens: float


@public
class SharedState(Protocol):
    """A store of shared state. A plugin adds a store as an entry point of the group `providerhub.shared`.

    The name of the entry point is the scheme of the address. Its value is a callable that takes a `Shared` and returns a store.
    No method blocks, or raises because the store does not answer.
    """

    @property
    def namespace(self) -> str:
        """The namespace, which separates applications."""

    @property
    def on_outage(self) -> str:
        """The treatment of limits while the store does not answer, one of `ON_OUTAGE`."""

    @property
    def answer(self) -> float:
        """The seconds in which the store must answer a claim."""

    def start(self, told: Callable[[Fact], object]) -> None:
        """Connect in the background. Call `told`, in any thread, with each known and new fact of other processes.

        The same fact may come again, for example after a lost connection.

        Args:
            told: A function that takes a fact. It does not block.
        """

    def tell(self, fact: Fact) -> None:
        """Pass a fact on to the other processes, in the background.

        While the store does not answer, keep the fact until it expires.

        Args:
            fact: The fact. `"forgiven"` takes back the facts of the same scope.
        """

    def claim(self, claim: Claim, answer: Callable[[str, float], object]) -> bool | None:
        """Ask for a turn, in the background. Count all lanes in one step; if one lane has no room, count none.

        Args:
            claim: The claim for a turn.
            answer: A function to call in any thread, even before `claim` ends: with an empty text and 0 for a turn; with a
                reached limit (`"concurrency"`, `"rpm"` or `"tpm"`) and the seconds after which to ask again; or with
                `"shared limits unknown"` if the store has failed in the meantime.

        Returns:
            True if the store is asked. `None` if the turn comes from the stock of this process. False while the store does not
            answer. `answer` is called only after true.
        """

    def give_back(self, claim: Claim, used: float | None) -> None:
        """Give a turn back.

        Args:
            claim: The claim that was answered with a turn.
            used: The tokens that the call has used; `None` leaves the reservation as it is.
        """

    def close(self) -> None:
        """Close the connections, and pass nothing on any more."""
