"""What an operator reads of Redis: some keys at a time, and without a trace. No key lives longer
for it."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from connectors.redis.client import RedisClient
from connectors.redis.recent import Window, parse_window, window_key


class FoundWindow(NamedTuple):
    """`window` None: the key holds what no node has written, and no node reads it."""

    conversation: str
    window: Window | None


class FoundRoute(NamedTuple):
    """`value` as it stands there: node, slot, since."""

    user: str
    device: str
    value: str


class RedisSurvey:
    """All methods raise RedisUnavailable. Those that take a cursor begin with 0, and return the
    next one; 0 means that there are no more. A key may come twice."""

    def __init__(self, client: RedisClient) -> None:
        self._client = client

    async def windows(
        self, log_id: str, cursor: int, keys: int
    ) -> tuple[int, Sequence[FoundWindow]]:
        """The windows of a numbering. Looks at some `keys` keys of Redis, of all kinds."""
        prefix = window_key(log_id, "")
        cursor, names = await self._scan(f"{prefix}*", cursor, keys)
        values = await self._client.command("MGET", *names) if names else []
        return cursor, [
            FoundWindow(name.decode().removeprefix(prefix), parse_window(value))
            for name, value in zip(names, values, strict=True)
            if value is not None
        ]

    async def routes(self, cursor: int, keys: int) -> tuple[int, Sequence[FoundRoute]]:
        """The routes of users, likewise."""
        cursor, names = await self._scan("routes:*", cursor, keys)
        found = []
        for name in names:
            fields = await self._client.command("HGETALL", name)
            user = name.decode().removeprefix("routes:")
            for device, value in zip(fields[::2], fields[1::2], strict=True):
                found.append(
                    FoundRoute(
                        user, device.decode(errors="replace"), value.decode(errors="replace")
                    )
                )
        return cursor, found

    async def server(self) -> dict[str, str]:
        """What INFO says of the server and its memory."""
        told = (await self._client.command("INFO")).decode()
        return dict(line.split(":", 1) for line in told.splitlines() if ":" in line)

    async def clock(self) -> float:
        """Its time in seconds."""
        seconds, micros = await self._client.command("TIME")
        return int(seconds) + int(micros) / 1e6

    async def route(self, user: str, device: str) -> str | None:
        """The value of one route."""
        value = await self._client.command("HGET", f"routes:{user}", device)
        return None if value is None else _text(value)

    async def holders(self, slots: int) -> dict[int, str]:
        """slot → the node that holds it."""
        found = await self._client.command("MGET", *(f"slot:{slot}" for slot in range(slots)))
        return {slot: node.decode() for slot, node in enumerate(found) if node}

    async def _scan(self, pattern: str, cursor: int, keys: int) -> tuple[int, list[Any]]:
        found = await self._client.command("SCAN", cursor, "MATCH", pattern, "COUNT", keys)
        return int(found[0]), found[1]


def _text(value: bytes) -> str:
    return value.decode(errors="replace")
