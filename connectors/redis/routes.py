"""Which device is connected where: gateway slots are leases, devices have routes. The port, and its
adapter for Redis."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from enum import Enum
from types import MappingProxyType
from typing import NamedTuple, Protocol

import msgspec

from connectors.redis.client import RedisClient

LEASE_SECONDS = 5.0
RENEW_SECONDS = 1.0
ROUTE_SECONDS = 24 * 3600
CLOCKS_MS = 1000
"""By how much the nodes' times may differ. A route that is further in the future was written with
another Redis' clock. Of two sessions that came within this time nobody can say which is later."""
_QUICK_SECONDS = 0.1

_encode = msgspec.msgpack.Encoder().encode
_found = msgspec.msgpack.Decoder(list[list[tuple[str, int]]])


class Lease(Enum):
    """What a renewal found."""

    HELD = "held"
    VANISHED = "vanished"
    """It was gone and is ours again, or Redis began anew from a file. Routes may be gone too."""
    TAKEN = "taken"
    """Another node has the slot."""


class Route(NamedTuple):
    """`since` is when the session's connection request reached the kernel, by `Routes.now` (ms). An
    earlier session's route does not replace a later one's."""

    user: str
    device: str
    node: str
    slot: int
    since: int

    @property
    def value(self) -> str:
        return f"{self.node} {self.slot} {self.since}"


class Written(NamedTuple):
    """What became of routes: `anew` were not there; `outdone` were kept out by a later session of
    the device; `replaced` are routes of earlier sessions on other nodes that still hold their
    slots. Sessions within CLOCKS_MS of each other are in neither of these two. `others`: the route
    of a device that had none → how many other devices of the user have one, if any."""

    anew: Sequence[Route]
    outdone: Sequence[Route]
    replaced: Sequence[Route]
    others: Mapping[Route, int] = MappingProxyType({})


class Holders(NamedTuple):
    """The nodes that hold slots, and for how many seconds Redis has remembered leases. It forgets
    them when it is emptied, or begins anew."""

    nodes: Set[str]
    remembers: float


class Routes(Protocol):
    """All methods raise RedisUnavailable."""

    async def lookup(self, users: Sequence[str]) -> Mapping[str, Sequence[tuple[str, int]]]:
        """user → (device, slot) of each connected device, for every user, in one round trip."""

    def now(self) -> int:
        """The time in ms, the same on all nodes, whatever their own clocks say. It is known once a
        slot has been leased."""

    async def acquire_slot(self, node: str, slots: Iterable[int]) -> int | None:
        """Lease the first of `slots` that is free, or that the node has already. None if other
        nodes hold all."""

    async def renew_slot(self, node: str, slot: int) -> Lease:
        """Renew the lease, or take it again if it had vanished. VANISHED is returned once for each
        time, even if the first answer gets lost."""

    async def release_slot(self, node: str, slot: int) -> None:
        """Give the slot back if it is still ours."""

    async def nodes(self, slots: int) -> Holders:
        """The nodes that hold one of the slots 0..slots-1 now. Redis counts how long it has
        remembered leases from the first call on."""

    async def write_routes(self, routes: Sequence[Route]) -> Written:
        """Write routes that are missing or of earlier sessions, in one round trip, and prolong all
        for a day. A device that has moved on keeps its later route, but not one that came within
        CLOCKS_MS and whose node does not hold its slot. Routes of the same users that lead to dead
        nodes are removed."""

    async def remove_routes(self, routes: Sequence[Route]) -> None:
        """Remove those routes that are still these, in one round trip."""


class RedisRoutes:
    """`Routes` on one Redis server."""

    def __init__(
        self,
        client: RedisClient,
        lease_seconds: float = LEASE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._lease_ms = int(lease_seconds * 1000)
        self._clock = clock
        self._ahead: float | None = None
        """By how much Redis' clock is ahead of ours, in seconds."""
        self._run: bytes | None = None
        self._vanished: set[int] = set()
        """Slots whose lease had vanished, and for which VANISHED has not been returned yet."""
        self._lookup = client.script("lookup_routes")
        self._renew = client.script("renew_slot")
        self._release = client.script("release_slot")
        self._forget = client.script("remove_routes")
        self._write = client.script("write_routes", repeatable=False)
        self._holders = client.script("slot_holders")

    async def lookup(self, users: Sequence[str]) -> Mapping[str, Sequence[tuple[str, int]]]:
        found = _found.decode(await self._lookup(args=[_encode(users)]))
        return dict(zip(users, found, strict=True))

    def now(self) -> int:
        assert self._ahead is not None
        return int((self._clock() + self._ahead) * 1000)

    async def acquire_slot(self, node: str, slots: Iterable[int]) -> int | None:
        for slot in slots:
            if await self.renew_slot(node, slot) is not Lease.TAKEN:
                return slot
        return None

    async def renew_slot(self, node: str, slot: int) -> Lease:
        # A lease that vanished is noted before it is taken again: the answer to the taking may get
        # lost, and the next renewal would find everything in order.
        lease = await self._renew_lease(node, slot, take=False)
        if lease is Lease.VANISHED:
            self._vanished.add(slot)
            lease = await self._renew_lease(node, slot, take=True)
        if lease is Lease.HELD and slot in self._vanished:
            lease = Lease.VANISHED
        self._vanished.discard(slot)
        return lease

    async def _renew_lease(self, node: str, slot: int, take: bool) -> Lease:
        asked = self._clock()
        run, now, found = await self._renew(
            keys=[f"slot:{slot}"], args=[node, self._lease_ms, int(take)]
        )
        self._ahead = clock_ahead(self._ahead, asked, self._clock(), now / 1000)
        if self._run not in (None, run):
            self._vanished.add(slot)
        self._run = run
        return Lease(found.decode())

    async def release_slot(self, node: str, slot: int) -> None:
        await self._release(keys=[f"slot:{slot}"], args=[node])

    async def nodes(self, slots: int) -> Holders:
        remembers, *found = await self._holders(keys=[f"slot:{slot}" for slot in range(slots)])
        return Holders({node.decode() for node in found if node}, remembers / 1000)

    async def write_routes(self, routes: Sequence[Route]) -> Written:
        packed = _encode(
            [(route.user, route.device, route.value, route.since, route.node) for route in routes]
        )
        anew, outdone, replaced, others = await self._write(args=[packed, ROUTE_SECONDS, CLOCKS_MS])
        return Written(
            [routes[place] for place in anew],
            [routes[place] for place in outdone],
            [
                routes[place]._replace(node=node.decode(), slot=slot, since=since)
                for place, node, slot, since in replaced
            ],
            {routes[place]: count for place, count in others},
        )

    async def remove_routes(self, routes: Sequence[Route]) -> None:
        await self._forget(
            args=[_encode([(route.user, route.device, route.value) for route in routes])]
        )


def clock_ahead(known: float | None, asked: float, answered: float, told: float) -> float:
    """By how much another clock is ahead of ours, if it showed `told` between `asked` and
    `answered`. An answer that took long says little, and does not replace what is `known`. In
    seconds."""
    if known is not None and answered - asked > _QUICK_SECONDS:
        return known
    return told - (asked + answered) / 2
