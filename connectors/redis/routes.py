"""Who is connected where: gateway slots as leases, devices as routes. The port, and Redis behind it."""

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import NamedTuple, Protocol

import msgspec

from connectors.redis.client import RedisClient

LEASE_SECONDS = 5.0
RENEW_SECONDS = 1.0
ROUTE_SECONDS = 24 * 3600

_encode = msgspec.msgpack.Encoder().encode
_found = msgspec.msgpack.Decoder(list[list[tuple[str, int]]])


class Lease(Enum):
    """What a renewal found."""

    HELD = "held"
    VANISHED = "vanished"
    """It was gone and is ours again, or Redis began anew from a file: routes may be gone too."""
    TAKEN = "taken"
    """Another node has the slot."""


class Route(NamedTuple):
    """`since` is when the session came, in ms by its node's clock: a later one is not replaced by an earlier one."""

    user: str
    device: str
    node: str
    slot: int
    since: int

    @property
    def value(self) -> str:
        return f"{self.node} {self.slot} {self.since}"


class Routes(Protocol):
    """All methods raise RedisUnavailable."""

    async def lookup(self, users: Sequence[str]) -> Mapping[str, Sequence[tuple[str, int]]]:
        """user -> (device, slot) of each connected device, for every user; one round trip whatever their number."""

    async def acquire_slot(self, node: str, slots: int) -> int | None:
        """Lease any free slot of 0..slots-1; None if all are taken."""

    async def renew_slot(self, node: str, slot: int) -> Lease:
        """Renew the lease, taking it again if it had vanished."""

    async def release_slot(self, node: str, slot: int) -> None:
        """Give the slot back if it is still ours."""

    async def nodes(self, slots: int) -> set[str]:
        """The nodes that hold one of the slots 0..slots-1 now."""

    async def write_routes(self, routes: Sequence[Route]) -> None:
        """Write routes that are missing or of earlier sessions, in one round trip, and make all live another day. A device that
        has moved on keeps its later route."""

    async def remove_route(self, route: Route) -> None:
        """Remove a route if it is still this one."""


class RedisRoutes:
    """`Routes` on one Redis server."""

    def __init__(self, client: RedisClient, lease_seconds: float = LEASE_SECONDS) -> None:
        self._client = client
        self._call = client.call
        self._redis = client.redis
        self._lease_ms = int(lease_seconds * 1000)
        self._run: bytes | None = None
        self._lookup = client.hot_script("lookup")
        self._renew = client.script("renew")
        self._release = client.script("release")
        self._forget = client.script("forget")
        self._write = client.script("put")

    async def lookup(self, users: Sequence[str]) -> Mapping[str, Sequence[tuple[str, int]]]:
        found = _found.decode(await self._lookup(_encode(users)))
        return dict(zip(users, found, strict=True))

    async def acquire_slot(self, node: str, slots: int) -> int | None:
        for slot in range(slots):
            if await self._call(self._redis.set(f"slot:{slot}", node, nx=True, px=self._lease_ms)):
                return slot
        return None

    async def renew_slot(self, node: str, slot: int) -> Lease:
        run, found = await self._call(self._renew(keys=[f"slot:{slot}"], args=[node, self._lease_ms]))
        lease = Lease(found.decode())
        before, self._run = self._run, run
        return Lease.VANISHED if lease is Lease.HELD and before not in (None, run) else lease

    async def release_slot(self, node: str, slot: int) -> None:
        await self._call(self._release(keys=[f"slot:{slot}"], args=[node]))

    async def nodes(self, slots: int) -> set[str]:
        found = await self._call(self._redis.mget([f"slot:{slot}" for slot in range(slots)]))
        return {node.decode() for node in found if node}

    async def write_routes(self, routes: Sequence[Route]) -> None:
        packed = _encode([(route.user, route.device, route.value, route.since) for route in routes])
        await self._call(self._write(args=[packed, ROUTE_SECONDS]))

    async def remove_route(self, route: Route) -> None:
        await self._call(self._forget(keys=[f"routes:{route.user}"], args=[route.device, route.value]))
