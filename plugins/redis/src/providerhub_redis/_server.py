"""The Redis or Valkey server: its connections and its data. Every method may block for `ANSWER` seconds.

The facts of a namespace are a channel and a sorted set, with the end of each fact as score, by the server's clock. A limited lane
has up to five keys: the calls at once of each process, the ends of their leases, the time of the next start, the tokens of each
second, and whether a process waits. The script `take.lua` takes turns in one step.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.resources import files
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.exceptions import OutOfMemoryError
from redis.retry import Retry

from providerhub import ConfigurationError, Fact
from providerhub_redis._stock import Found, Wish

ANSWER = 1.0  # seconds within which the server must accept a connection, or answer a command
MOST = 10_000  # the most facts of a namespace; the server forgets the facts that end first
LEASE = 30  # seconds without renewal of its lease after which the calls of a process no longer count
AHEAD = 0.05  # seconds; a start further in the future is not taken in advance
LOOK = 0.2  # seconds between two looks at a full lane
FORGIVEN = "forgiven"


class Server:
    """The connections to one server, and the data of one namespace. Used in one thread.

    All methods raise `RedisError` when the server refuses something or does not answer in time, or else `OSError`.

    Args:
        url: The address, with a password if there is one.
        namespace: The part of the keys' names that separates applications.
    """

    def __init__(self, url: str, namespace: str) -> None:
        self._url = url
        self._facts = f"providerhub:{{{namespace}}}:facts"  # the braces put all keys of a namespace into one slot of a cluster
        self._name = f"providerhub:{{{namespace}}}:channel"
        self._sender = secrets.token_hex(8)
        self._offset = 0.0  # the server's clock minus the monotonic clock of this process, in seconds
        self._prefix = f"providerhub:{{{namespace}}}:lane:"
        self._waiting = f"providerhub:{{{namespace}}}:waiting"  # the channel that names a lane for which a process waits
        self._script = files(__package__).joinpath("take.lua").read_text("utf-8")
        self._digest = ""
        self._client: Any = None
        self._channel: Any = None

    def connect(self) -> Iterator[Fact]:
        """Connect, and yield the current facts of other processes."""
        self._client = client_of(self._url)
        self._channel = self._client.pubsub()
        self._channel.subscribe(self._name, self._waiting)  # first, so that no fact is missed between the list and the channel
        seconds, micros = self._client.time()
        self._offset = seconds + micros / 1e6 - time.monotonic()
        self._digest = self._client.script_load(self._script)
        now = self._now()
        for member, end in self._client.zrangebyscore(self._facts, now, "+inf", withscores=True):
            scope, model, what = json.loads(member)
            yield Fact(scope, model, what, end - now)

    @property
    def socket(self) -> Any:
        """The socket that becomes readable when a message comes."""
        return self._channel.connection._sock  # noqa: SLF001 -- redis-py has no other name for it

    def heard(self) -> Iterator[Fact | str]:
        """Yield the new facts of other processes, and the lanes that they wait for. Does not wait."""
        while (message := self._channel.get_message(timeout=0)) is not None:
            if message["type"] == "message" and message["channel"] == self._waiting:
                yield message["data"].removeprefix(self._prefix)
            elif message["type"] == "message":
                sender, *fact = json.loads(message["data"])
                if sender != self._sender:
                    yield Fact(*fact)

    def ping(self) -> None:
        """Check that the server answers, also on the channel."""
        self._client.ping()
        self._channel.ping()

    def tell(self, fact: Fact) -> None:
        """Pass a fact on to the other processes, and keep it for later processes."""
        # The list comes first: a process that reads the message may withdraw the fact at once.
        if fact.what == FORGIVEN:
            self._take_back(fact.scope)
        else:
            with contextlib.suppress(OutOfMemoryError):  # a full server passes facts on, but cannot store them
                self._keep(fact)
        message = json.dumps([self._sender, fact.scope, fact.model, fact.what, round(fact.seconds, 3)])
        self._client.publish(self._name, message)

    def take(self, wishes: Sequence[Sequence[Wish]]) -> list[tuple[str, float] | list[Found] | Exception]:
        """Ask for turns.

        Return for each wish the units of its lanes, or the reached limit and the seconds after which to ask again.
        """
        pipe = self._client.pipeline(transaction=False)
        for lanes in wishes:
            keys = [self._prefix + lane.lane for lane in lanes]
            numbers = ["" if one is None else one for lane in lanes for one in lane[1:]]
            pipe.evalsha(self._digest, len(keys), *keys, self._sender, LEASE, LOOK, AHEAD, self._waiting, *numbers)
        found = pipe.execute(raise_on_error=False)
        return [one if isinstance(one, Exception) else _found(one) for one in found]

    def keep(self, lanes: Iterable[tuple[str, int]]) -> None:
        """Set the number of calls at once in each lane, until the lease ends."""
        pipe, end = self._client.pipeline(transaction=False), self._now() + LEASE
        for name, count in lanes:
            calls, leases = f"{self._prefix}{name}:calls", f"{self._prefix}{name}:leases"
            if count:
                pipe.hset(calls, self._sender, count)
                pipe.zadd(leases, {self._sender: end})
                pipe.expire(calls, 2 * LEASE)
                pipe.expire(leases, 2 * LEASE)
            else:
                pipe.hdel(calls, self._sender)
                pipe.zrem(leases, self._sender)
        pipe.execute(raise_on_error=False)

    def correct(self, tokens: Mapping[tuple[str, float], float]) -> None:
        """Correct the counted tokens, by lane and second."""
        pipe = self._client.pipeline(transaction=False)
        for (name, second), more in tokens.items():
            pipe.hincrbyfloat(f"{self._prefix}{name}:tokens", int(second), more)
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


def _found(answer: list[str]) -> tuple[str, float] | list[Found]:
    reason, second, *numbers = answer
    if reason:
        return reason, float(second)
    four = zip(*[iter(map(float, numbers))] * 4, strict=True)
    return [Found(int(calls), int(starts), last, tokens, float(second)) for calls, starts, last, tokens in four]


def client_of(url: str) -> Any:
    """The client for an address. It waits at most a second, and makes no retries.

    Raises:
        ConfigurationError: The address is wrong.
    """
    address = url.replace("valkey", "redis", 1) if url.startswith("valkey") else url
    try:
        client = redis.Redis.from_url(
            address, socket_timeout=ANSWER, socket_connect_timeout=ANSWER, retry=Retry(NoBackoff(), 0), decode_responses=True
        )
        client.connection_pool.make_connection()  # connects nothing, and refuses a wrong parameter of the address
        if "#" not in address:
            return client
    except (TypeError, ValueError):  # the text of the error may hold a part of the password
        pass
    raise ConfigurationError(
        "the address of the store is wrong: write redis://HOST:PORT/0, with a % code for each special character of a password; "
        "the other parameters are those of redis-py"
    )
