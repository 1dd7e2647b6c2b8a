"""The Redis or Valkey server: its connections and its data. Every method may block, for as long as `ANSWER` says.

The facts of a namespace are one sorted set, whose scores are the ends of the facts by the server's clock, and one channel.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import time
from collections.abc import Iterator
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.exceptions import OutOfMemoryError
from redis.retry import Retry

from providerhub import Fact

ANSWER = 1.0  # seconds in which the server must accept a connection, or answer a command
MOST = 10_000  # facts of one namespace; the server forgets those that end first
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
        message = json.dumps([self._sender, fact.scope, fact.model, fact.what, round(fact.seconds, 3)])
        self._client.publish(self._name, message)
        with contextlib.suppress(OutOfMemoryError):  # a full server passes facts on, and cannot keep them
            if fact.what == FORGIVEN:
                self._take_back(fact.scope)
            else:
                self._keep(fact)

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
