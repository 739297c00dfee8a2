"""In which partitions a user has conversations: soft state, so that a question about a user goes to
few workers.

An entry is unknown, filling or complete. `find` begins one that is unknown; from then on a
conversation that begins is added to it with the look for its users' routes (`Routes.lookup`); what
was there before is brought by `complete`.
"""

import secrets
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import msgspec

from connectors.redis.client import RedisClient
from connectors.request_batcher import RequestBatcher

ENTRY_SECONDS = 30 * 24 * 3600
"""An entry that nobody asks for goes: it is filled again when its user comes back."""

_CALLS, _USERS = 2, 500
"""At once, and in one of them: all devices of a node may come at the same moment."""

_encode = msgspec.msgpack.Encoder().encode
_found = msgspec.msgpack.Decoder(list[tuple[str, list[int]]])


class Entry(NamedTuple):
    """`mark` None: the user has conversations in these partitions, in no other. Else the entry is
    filling, under that mark."""

    partitions: Sequence[int]
    mark: str | None = None


class Begun(NamedTuple):
    """Users of conversations that begin in a partition."""

    partition: int
    users: Sequence[str]


class UserPartitions(Protocol):
    """All methods raise RedisUnavailable."""

    async def find(self, user: str) -> Entry:
        """What is known of a user. Of an unknown one, or one that another life of Redis knew,
        nothing: it is filling now."""

    async def complete(self, user: str, mark: str, partitions: Sequence[int]) -> bool:
        """The user's partitions, asked after since `find` gave `mark`; with what began meanwhile
        the entry is complete. False, and nothing is done, if it is not the one that was filling
        then."""


def new_name() -> str:
    """A name nobody has had."""
    return secrets.token_urlsafe(9)


class RedisUserPartitions:
    """`Directory` on one Redis server. Use it inside a running loop."""

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
        return [Entry((), mark) if mark else Entry(partitions) for mark, partitions in found]

    async def complete(self, user: str, mark: str, partitions: Sequence[int]) -> bool:
        return bool(await self._complete(args=[user, mark, _encode(partitions)]))
