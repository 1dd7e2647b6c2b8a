"""The Redis or Valkey server: its connections and its data. Every method may block, for as long as `ANSWER` says.

The facts of a namespace are one sorted set, whose scores are the ends of the facts by the server's clock, and one channel.
A limited lane has up to three keys: the calls under way (a sorted set, by the ends of their leases), the time of the next start,
and the tokens of each second. One script, `take.lua`, takes a turn in one step.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import time
from collections.abc import Iterable, Iterator, Sequence
from importlib.resources import files
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.exceptions import OutOfMemoryError
from redis.retry import Retry

from providerhub import Claim, Fact

ANSWER = 1.0  # seconds in which the server must accept a connection, or answer a command
MOST = 10_000  # facts of one namespace; the server forgets those that end first
LEASE = 30  # seconds after which a call no longer counts whose process does not renew its lease
LOOK = 0.2  # seconds between two looks at a lane that is full of calls
FORGIVEN = "forgiven"


class Server:
    """The connections to one server, and the data of one namespace. Used in one thread.

    All methods raise `RedisError` when the server refuses something or does not answer in time, or else `OSError`.

    Args:
        url: The address, with a password if there is one.
        namespace: The part of the keys' names that separates applications.
    """

    def __init__(self, url: str, namespace: str) -> None:
        self._url = url.replace("valkey", "redis", 1) if url.startswith("valkey") else url
        self._facts = f"providerhub:{{{namespace}}}:facts"  # the braces put all keys of a namespace into one slot of a cluster
        self._name = f"providerhub:{{{namespace}}}:channel"
        self._sender = secrets.token_hex(8)
        self._offset = 0.0  # the server's clock, in seconds, less the monotonic clock of this process
        self._prefix = f"providerhub:{{{namespace}}}:lane:"
        self._script = files(__package__).joinpath("take.lua").read_text("utf-8")
        self._digest = ""
        self._client: Any = None
        self._channel: Any = None

    def connect(self) -> Iterator[Fact]:
        """Connect, and yield what other processes have said that still holds."""
        self._client = redis.Redis.from_url(
            self._url, socket_timeout=ANSWER, socket_connect_timeout=ANSWER, retry=Retry(NoBackoff(), 0), decode_responses=True
        )
        self._channel = self._client.pubsub()
        self._channel.subscribe(self._name)  # first, so that nothing is missed between the list and the channel
        seconds, micros = self._client.time()
        self._offset = seconds + micros / 1e6 - time.monotonic()
        self._digest = self._client.script_load(self._script)
        now = self._now()
        for member, end in self._client.zrangebyscore(self._facts, now, "+inf", withscores=True):
            scope, model, what = json.loads(member)
            yield Fact(scope, model, what, end - now)

    @property
    def socket(self) -> Any:
        """The socket that becomes readable when there is something to hear."""
        return self._channel.connection._sock  # noqa: SLF001 -- redis-py has no other name for it

    def heard(self) -> Iterator[Fact]:
        """Yield what other processes have said since the last call. Does not wait for more."""
        while (message := self._channel.get_message(timeout=0)) is not None:
            if message["type"] == "message":
                sender, *fact = json.loads(message["data"])
                if sender != self._sender:
                    yield Fact(*fact)

    def ping(self) -> None:
        """See that the server answers, and let it say so on the channel too."""
        self._client.ping()
        self._channel.ping()

    def tell(self, fact: Fact) -> None:
        """Pass a fact on to the other processes, and keep it for those that come later."""
        # The list comes first: a process that hears a message may take the fact back at once.
        if fact.what == FORGIVEN:
            self._take_back(fact.scope)
        else:
            with contextlib.suppress(OutOfMemoryError):  # a full server passes facts on, and cannot keep them
                self._keep(fact)
        message = json.dumps([self._sender, fact.scope, fact.model, fact.what, round(fact.seconds, 3)])
        self._client.publish(self._name, message)

    def take(self, claims: Sequence[Claim]) -> list[tuple[str, float] | Exception]:
        """Ask for turns. Return for each the limit in the way and the seconds until to ask again, or `""` and the second it has.

        The exception is that of one claim: a full server refuses to count.
        """
        pipe = self._client.pipeline(transaction=False)
        for claim in claims:
            keys = [self._prefix + lane[0] for lane in claim.lanes]
            limits = ["" if limit is None else limit for lane in claim.lanes for limit in lane[1:]]
            pipe.evalsha(self._digest, len(keys), *keys, claim.id, claim.tokens, LEASE, LOOK, *limits)
        found = pipe.execute(raise_on_error=False)
        return [one if isinstance(one, Exception) else (one[0], float(one[1])) for one in found]

    def renew(self, claims: Iterable[Claim]) -> None:
        """Renew the leases of the calls under way. A call without a lease was made by a process that has ended."""
        pipe, end = self._client.pipeline(transaction=False), self._now() + LEASE
        for claim in claims:
            for name, most, _, _ in claim.lanes:
                if most is not None:
                    pipe.zadd(f"{self._prefix}{name}:calls", {claim.id: end})
                    pipe.expire(f"{self._prefix}{name}:calls", 2 * LEASE)
        pipe.execute(raise_on_error=False)

    def give_back(self, turns: Sequence[tuple[Claim, float, float | None]]) -> None:
        """Give turns back: each with its second, and the tokens that it used."""
        pipe = self._client.pipeline(transaction=False)
        for claim, second, used in turns:
            for name, calls, _, tokens in claim.lanes:
                if calls is not None:
                    pipe.zrem(f"{self._prefix}{name}:calls", claim.id)
                if tokens is not None and used is not None:
                    pipe.hincrbyfloat(f"{self._prefix}{name}:tokens", int(second), used - min(claim.tokens, tokens))
        pipe.execute(raise_on_error=False)

    def close(self) -> None:
        """Close the connections. Raises nothing."""
        for one in (self._channel, self._client):
            with contextlib.suppress(Exception):
                one.close()

    def _keep(self, fact: Fact) -> None:
        now = self._now()
        pipe = self._client.pipeline(transaction=False)
        pipe.zadd(self._facts, {json.dumps([fact.scope, fact.model, fact.what]): now + fact.seconds}, gt=True)
        pipe.zremrangebyscore(self._facts, "-inf", now)
        pipe.zremrangebyrank(self._facts, 0, -MOST - 1)
        pipe.execute()

    def _take_back(self, scope: str) -> None:
        gone = [member for member in self._client.zrange(self._facts, 0, -1) if json.loads(member)[0] == scope]
        if gone:
            self._client.zrem(self._facts, *gone)

    def _now(self) -> float:
        return time.monotonic() + self._offset
