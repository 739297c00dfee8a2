"""What users have used of their quotas, over all nodes: token buckets in Redis."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import msgspec

from connectors.redis.client import RedisClient

_encode = msgspec.msgpack.Encoder().encode
_levels = msgspec.msgpack.Decoder(list[float])


class Charge(NamedTuple):
    """`cost` tokens were given out. The bucket gets `rate` tokens a second, up to `most`."""

    bucket: str
    cost: float
    rate: float
    most: float


class SharedQuotas(Protocol):
    """All methods raise RedisUnavailable."""

    async def charge(self, charges: Sequence[Charge]) -> Sequence[float]:
        """What each bucket holds after its charge, in one round trip. Below 0 it is in debt, by no
        more than `most`. A bucket that was never charged was full."""


class RedisQuotas:
    """`SharedQuotas` on one Redis server."""

    def __init__(self, client: RedisClient) -> None:
        self._charge = client.script("charge_quotas", repeatable=False)

    async def charge(self, charges: Sequence[Charge]) -> Sequence[float]:
        return _levels.decode(await self._charge(args=[_encode(charges)]))
