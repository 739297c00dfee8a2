"""In which partitions a user has conversations. With that, a question about a user goes to few
workers. It is soft state.

An entry is unknown, filling or complete. `find` begins to fill an unknown one. From then on
`Routes.lookup` adds each partition in which a conversation of the user begins, and `complete` adds
those in which the user had conversations before.
"""

import secrets
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import msgspec

from connectors.redis.client import RedisClient
from connectors.request_batcher import RequestBatcher

ENTRY_SECONDS = 30 * 24 * 3600
"""Redis drops an entry for which nobody asks. It is filled again when its user comes back."""

_CALLS, _USERS = 2, 500
"""Calls at once, and users in one call: all devices of a node may come at the same moment."""

_encode = msgspec.msgpack.Encoder().encode
_found = msgspec.msgpack.Decoder(list[tuple[str, list[int]]])


class Entry(NamedTuple):
    """With `fill_token` None, the user has conversations in these partitions and in no other. Else
    the entry is being filled, and whoever fills it gives the token back."""

    partitions: Sequence[int]
    fill_token: str | None = None


class Begun(NamedTuple):
    """Users of conversations that begin in a partition."""

    partition: int
    users: Sequence[str]


class UserPartitions(Protocol):
    """All methods raise RedisUnavailable."""

    async def find(self, user: str) -> Entry:
        """The user's entry. An entry that is unknown, or that was made in another life of Redis,
        begins to fill."""

    async def complete(self, user: str, fill_token: str, partitions: Sequence[int]) -> bool:
        """Complete the entry with `partitions`, for which the caller asked after `find` gave it
        `fill_token`. Returns False, and does nothing, if that filling has ended."""


def new_name() -> str:
    """A name that is used for the first time."""
    return secrets.token_urlsafe(9)


class RedisUserPartitions:
    """`UserPartitions` on one Redis server. Use it inside a running loop."""

    def __init__(
        self,
        client: RedisClient,
        entry_seconds: float = ENTRY_SECONDS,
        name: Callable[[], str] = new_name,
    ) -> None:
        self._ms = int(entry_seconds * 1000)
        self._name = name
        self._find = client.script("find_user_partitions")
        self._complete = client.script("complete_user_partitions")
        self._together = RequestBatcher(self._find_all, _CALLS, _USERS)

    async def find(self, user: str) -> Entry:
        return await self._together(user)

    async def _find_all(self, users: Sequence[str]) -> list[Entry]:
        asked = _encode([(user, self._name()) for user in users])
        found = _found.decode(await self._find(args=[asked, self._ms]))
        return [
            Entry((), fill_token) if fill_token else Entry(partitions)
            for fill_token, partitions in found
        ]

    async def complete(self, user: str, fill_token: str, partitions: Sequence[int]) -> bool:
        return bool(await self._complete(args=[user, fill_token, _encode(partitions)]))
