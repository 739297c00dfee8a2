"""How much each user may do: token buckets, kept by each node and settled between nodes.

A node decides by its own buckets, so a send costs no call to Redis. It charges what it has given
out to the user's bucket in Redis, in bulk, as soon as that is worth a call. The bucket in Redis
then bounds the node's own. So on N nodes a user gets N small advances more than on one. While Redis
is away each node limits by itself.
"""

import asyncio
import logging
import math
from collections.abc import Callable
from enum import Enum
from typing import NamedTuple

from connectors.redis.client import RedisUnavailable
from connectors.redis.quotas import Charge, SharedQuotas

log = logging.getLogger(__name__)

SETTLE_SECONDS = 0.1
"""Between two calls to Redis."""
ADVANCE = 1 / 16
"""Of a full bucket: what a node gives out before it charges the bucket in Redis."""
MAX_ACCOUNTS = 100_000
"""Users that a node remembers, for each kind of quota. Those who have used little are forgotten."""
_TOGETHER = 500
"""Charges in one round trip."""


class Kind(Enum):
    """What is counted."""

    SENDS = "sends"
    """Sends and receipts."""
    OPENINGS = "openings"
    """Sends that may make a conversation or an outbox, which the sequencer remembers."""
    QUESTIONS = "questions"
    """Questions by what they cost, on a socket or over HTTP, and `typing`."""


class Limit(NamedTuple):
    """A bucket holds `most` tokens and gets `rate` a second."""

    rate: float
    most: float


class _Account:
    """One user's bucket of one kind, as this node knows it."""

    __slots__ = ("at", "level", "spent")

    def __init__(self, level: float, at: float) -> None:
        self.level = level
        self.at = at
        """Loop time of `level`."""
        self.spent = 0.0
        """Given out and not charged yet."""


class Buckets:
    """All users' buckets of one kind on this node. A user who has taken `advance` tokens owes them
    to the bucket in Redis, if there is one."""

    def __init__(self, limit: Limit, advance: float = math.inf) -> None:
        self.limit = limit
        self.advance = advance
        self.accounts: dict[str, _Account] = {}
        self.owing: set[str] = set()
        """Users who have spent their advance."""

    def take(self, user: str, cost: float, now: float) -> int:
        """As `Quotas.take`; `now` is in seconds."""
        rate, most = self.limit
        account = self.accounts.get(user)
        if account is None:
            account = self._open(user, now)
        level = account.level + (now - account.at) * rate
        account.at = now
        if level >= most:
            level = most
            account.spent = 0.0  # the bucket in Redis is full, too, or will be by the next charge
        if level < cost:
            account.level = level
            return max(1, int((cost - level) / rate * 1000))
        account.level = level - cost
        account.spent += cost
        if account.spent >= self.advance:
            self.owing.add(user)
        return 0

    def owe(self, user: str, cost: float, now: float) -> None:
        """Take what the user has used already, whether it is there or not. A debt is as much as a
        full bucket at most."""
        rate, most = self.limit
        account = self.accounts.get(user) or self._open(user, now)
        level = min(most, account.level + (now - account.at) * rate)
        account.at = now
        account.level = max(-most, level - cost)

    def settled(self, user: str, charged: float, level: float) -> None:
        """`charged` was taken from the user's bucket in Redis, which then held `level`."""
        account = self.accounts.get(user)
        if account is not None:
            account.spent = max(0.0, account.spent - charged)
            account.level = min(account.level, level - account.spent)

    def _open(self, user: str, now: float) -> _Account:
        if len(self.accounts) >= MAX_ACCOUNTS:
            rate, most = self.limit
            self.accounts = {
                name: account
                for name, account in self.accounts.items()
                if account.level + (now - account.at) * rate < most
            }
            while len(self.accounts) >= MAX_ACCOUNTS:
                del self.accounts[next(iter(self.accounts))]  # the one that was opened first
        account = self.accounts[user] = _Account(self.limit.most, now)
        return account


class Quotas:
    """Use it inside a running loop. `clock` is in seconds."""

    def __init__(
        self, limits: dict[Kind, Limit], shared: SharedQuotas, clock: Callable[[], float]
    ) -> None:
        self._buckets = {
            kind: Buckets(limit, limit.most * ADVANCE) for kind, limit in limits.items()
        }
        self._shared = shared
        self._clock = clock
        self._owing = asyncio.Event()
        """Somebody has spent an advance."""
        self.refused = 0

    def take(self, user: str, kind: Kind, cost: float = 1.0) -> int:
        """Take tokens of a user. Returns 0, or after how many ms to ask again; then nothing was
        taken. A cost above what a bucket holds is refused for ever."""
        buckets = self._buckets[kind]
        wait = buckets.take(user, cost, self._clock())
        if wait:
            self.refused += 1
        if buckets.owing:
            self._owing.set()
        return wait

    async def run(self) -> None:
        """Charge what was given out, until cancelled."""
        while True:
            await self._owing.wait()
            await asyncio.sleep(SETTLE_SECONDS)
            self._owing.clear()
            for kind, buckets in self._buckets.items():
                while buckets.owing:
                    await self._settle(kind, buckets)

    async def _settle(self, kind: Kind, buckets: Buckets) -> None:
        owing = [buckets.owing.pop() for _ in range(min(len(buckets.owing), _TOGETHER))]
        spent = {user: buckets.accounts[user].spent for user in owing if user in buckets.accounts}
        charges = [
            Charge(f"{kind.value}:{user}", cost, *buckets.limit) for user, cost in spent.items()
        ]
        if not charges:
            return
        try:
            levels = await self._shared.charge(charges)
        except RedisUnavailable as error:
            log.debug("quotas are not settled: %s", error)
            return
        for (user, charged), level in zip(spent.items(), levels, strict=True):
            buckets.settled(user, charged, level)
