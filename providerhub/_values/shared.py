"""Shared state: what the processes of one application tell each other through a store, and the interface of a store."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol
from urllib.parse import urlsplit

import attrs

from providerhub._values.checks import SECONDS, TEXT, Check, one_of, shape
from providerhub._values.config import Secret
from providerhub._values.value import Value, frozen, public

ON_OUTAGE = ("local", "refuse")
"""The ways to treat limits while the store does not answer."""


def _is_url(value: object) -> bool:
    return isinstance(value, Secret) and bool(value.source or urlsplit(value.reveal()).scheme)


def _secret(value: Any) -> Any:
    return Secret(value) if isinstance(value, str) else value


@frozen(eq=False, repr=False)
class Shared(Value):
    """The store through which several processes share their state.

    Args:
        url: The address of the store, such as `"redis://127.0.0.1:6379/0"`. Its scheme names the plugin: an entry point of the
            group `providerhub.shared`. It may hold a password, so it is kept as a `Secret`. Without one nothing is shared.
        namespace: The processes with the same namespace share their state. Default `"providerhub"`.
        on_outage: The treatment of the limits that all processes keep together while the store does not answer. `"local"`, the
            default: each process keeps to them by itself. `"refuse"`: calls at a provider with limits go elsewhere, or fail.
        answer: Seconds, default 0.005, in which the store must answer a call that needs a turn at a provider with limits. After
            them `on_outage` applies. A store on another machine may need more.
    """

    url: Secret | None = attrs.field(
        default=None,
        converter=_secret,
        validator=Check("an address with a scheme, such as 'redis://127.0.0.1:6379/0'", _is_url, shape).or_none,
    )
    namespace: str = attrs.field(default="providerhub", validator=TEXT, kw_only=True)
    on_outage: str = attrs.field(default="local", validator=one_of(ON_OUTAGE), kw_only=True)
    answer: float = attrs.field(default=0.005, validator=SECONDS, kw_only=True)


@frozen(eq=False, repr=False)
class Fact(Value):
    """A statement of a provider about an account or a model, which holds for every process that uses the same account.

    Args:
        scope: The account: the provider's host, and a keyed digest of its settings and its key. The key cannot be read from it.
        model: The model, or the declared model that matched; `""` for the whole account.
        what: `"rate limited"`, `"quota used up"`, `"key rejected"`, `"forbidden"`; `"no images"` or the like for a capability
            that the model lacks; `"forgiven"` when an operator lifted all of these.
        seconds: The seconds from now for which it holds. A duration, since the clocks of two machines may differ.
    """

    scope: str
    model: str
    what: str
    seconds: float


@frozen(eq=False, repr=False)
class Claim(Value):
    """A call's wish for a turn at a provider whose limits several processes keep together.

    Args:
        id: The claim's name, different from all others.
        lanes: The model, the account or both, as far as they have limits. Each one is a tuple of its name, the most calls at
            once, the seconds between the starts of two calls, and the most tokens in a minute; `None` for no such limit.
        tokens: The tokens that the call may use.
    """

    id: str
    lanes: tuple[tuple[str, int | None, float | None, float | None], ...]
    tokens: float


@public
class SharedState(Protocol):
    """A store of shared state. A plugin offers one as an entry point of the group `providerhub.shared`.

    The entry point is named like the scheme of the address, and leads to a callable that takes a `Shared` and returns a store.
    No method blocks, and none raises because the store does not answer.
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
        """Connect in the background. Call `told`, in any thread, with each fact of other processes, known and new.

        A fact that comes again, as after the connection was lost, does no harm.

        Args:
            told: Takes a fact in. It does not block.
        """

    def tell(self, fact: Fact) -> None:
        """Pass a fact on to the other processes, in the background. While the store does not answer, keep it until its end.

        Args:
            fact: The fact. `"forgiven"` takes back the facts of the same scope.
        """

    def claim(self, claim: Claim, answer: Callable[[str, float], object]) -> bool | None:
        """Ask for a turn, in the background. All lanes have room and are counted in one step, or none is.

        Args:
            claim: The turn that is asked for.
            answer: Call it in any thread with an empty text and 0 for a turn; else with the limit that is in the way,
                `"concurrency"`, `"rpm"` or `"tpm"`, and the seconds after which to ask again; else with
                `"shared limits unknown"`, when the store has failed meanwhile. May be called before `claim` ends.

        Returns:
            True when the store is asked. `None` when the turn is taken already, from a stock of this process; false while the
            store does not answer. In both cases `answer` is not called.
        """

    def give_back(self, claim: Claim, used: float | None) -> None:
        """Give a turn back.

        Args:
            claim: The claim that was answered with a turn.
            used: The tokens that the call has used; `None` leaves the reservation as it is.
        """

    def close(self) -> None:
        """Close the connections. Pass nothing on from now on."""
