"""Which gateway slots hold devices that watch a user. It is soft state that runs out by itself."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import msgspec

from connectors.redis.client import RedisClient

WATCH_SECONDS = 60.0

_encode = msgspec.msgpack.Encoder().encode
_found = msgspec.msgpack.Decoder(list[list[int]])


class Watchers(Protocol):
    """All methods raise RedisUnavailable."""

    async def watch(self, users: Iterable[str], slot: int) -> None:
        """From now on, for WATCH_SECONDS, the slot receives the presence of these users."""

    async def find(self, users: Sequence[str]) -> Mapping[str, Sequence[int]]:
        """user → slots that watch the user, for every user."""


class RedisWatchers:
    """`Watchers` on one Redis server."""

    def __init__(self, client: RedisClient, watch_seconds: float = WATCH_SECONDS) -> None:
        self._ms = int(watch_seconds * 1000)
        self._watch = client.script("watch")
        self._find = client.script("find_watchers")

    async def watch(self, users: Iterable[str], slot: int) -> None:
        await self._watch(args=[_encode(list(users)), slot, self._ms])

    async def find(self, users: Sequence[str]) -> Mapping[str, Sequence[int]]:
        found = _found.decode(await self._find(args=[_encode(users)]))
        return dict(zip(users, found, strict=True))
