"""The Redis ports in memory. Held to the contract suites of Redis."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from connectors.redis.fleet import Said, Told
from connectors.redis.memory_server import MemoryRedis
from connectors.redis.owners import CLAIM_SECONDS
from connectors.redis.quotas import Charge
from connectors.redis.routes import CLOCKS_MS, LEASE_SECONDS, Holders, Lease, Route, Written
from connectors.redis.watchers import WATCH_SECONDS


class _Port:
    def __init__(self, redis: MemoryRedis) -> None:
        self._call = redis.call
        self._server = redis.server

    def _now(self) -> float:
        return self._server.clock()

    def _table(self, name: str) -> dict[Any, Any]:
        return self._server.tables[name]


class MemoryRoutes(_Port):
    """`Routes` of one process."""

    def __init__(self, redis: MemoryRedis, lease_seconds: float = LEASE_SECONDS) -> None:
        super().__init__(redis)
        self._lease = lease_seconds
        self._run: int | None = None
        self._vanished: set[int] = set()
        """Slots whose lease had vanished, which nobody has heard yet."""

    def _holder(self, slot: int) -> str | None:
        node, until = self._table("slots").get(slot, ("", 0.0))
        return node if until > self._now() else None

    async def lookup(self, users: Sequence[str]) -> Mapping[str, Sequence[tuple[str, int]]]:
        return await self._call(lambda: self._lookup(users))

    def _lookup(self, users: Sequence[str]) -> Mapping[str, Sequence[tuple[str, int]]]:
        return {
            user: [
                (route.device, route.slot)
                for route in self._table("routes").get(user, {}).values()
                if self._holder(route.slot) in (None, route.node)
            ]
            for user in users
        }

    def now(self) -> int:
        return round(self._now() * 1000)

    async def acquire_slot(self, node: str, slots: Iterable[int]) -> int | None:
        for slot in slots:
            if await self.renew_slot(node, slot) is not Lease.TAKEN:
                return slot
        return None

    async def renew_slot(self, node: str, slot: int) -> Lease:
        lease = await self._call(lambda: self._renew(node, slot))
        if lease is Lease.HELD and slot in self._vanished:
            lease = Lease.VANISHED
        self._vanished.discard(slot)
        return lease

    def _renew(self, node: str, slot: int) -> Lease:
        holder = self._holder(slot)
        if holder is None or self._run not in (None, self._server.run):
            self._vanished.add(slot)
        self._run = self._server.run
        if holder not in (None, node):
            return Lease.TAKEN
        self._table("slots")[slot] = node, self._now() + self._lease
        return Lease.HELD

    async def release_slot(self, node: str, slot: int) -> None:
        def release() -> None:
            if self._holder(slot) == node:
                del self._table("slots")[slot]

        await self._call(release)

    async def nodes(self, slots: int) -> Holders:
        return await self._call(lambda: self._nodes(slots))

    def _nodes(self, slots: int) -> Holders:
        names, now = self._table("names"), self._now()
        run, since = names.get("remembers", (None, now))
        if run != self._server.run or since > now:
            since = now
            names["remembers"] = self._server.run, since
        holders = {node for slot in range(slots) if (node := self._holder(slot)) is not None}
        return Holders(holders, now - since)

    async def write_routes(self, routes: Sequence[Route]) -> Written:
        return await self._call(lambda: self._write(routes))

    def _write(self, routes: Sequence[Route]) -> Written:
        anew: list[Route] = []
        outdone: list[Route] = []
        replaced: list[Route] = []
        others: dict[Route, int] = {}
        for route in routes:
            devices = self._table("routes").setdefault(route.user, {})
            held = devices.get(route.device)
            if held == route:
                continue
            if (
                held is None
                or held.since <= route.since
                or held.since > self.now() + CLOCKS_MS
                or (held.since <= route.since + CLOCKS_MS and self._holder(held.slot) != held.node)
            ):
                if held is None and devices:
                    others[route] = len(devices)
                devices[route.device] = route
                anew.append(route)
                if (
                    held is not None
                    and held.node != route.node
                    and held.since < route.since - CLOCKS_MS
                ):
                    replaced += [held] if self._holder(held.slot) == held.node else []
            elif held.since > route.since + CLOCKS_MS:
                outdone.append(route)
        return Written(anew, outdone, replaced, others)

    async def remove_routes(self, routes: Sequence[Route]) -> None:
        def remove() -> None:
            for route in routes:
                devices = self._table("routes").get(route.user, {})
                if devices.get(route.device) == route:
                    del devices[route.device]

        await self._call(remove)


class MemoryFleet(_Port):
    """`Fleet`."""

    async def tell(self, process: str, report: bytes) -> None:
        await self._call(lambda: self._table("fleet").update({process: (self._now(), report)}))

    async def leave(self, process: str) -> None:
        await self._call(lambda: self._table("fleet").pop(process, None))

    async def all(self) -> Told:
        return await self._call(self._all)

    def _all(self) -> Told:
        fleet, now = self._table("fleet"), self._now()
        return {process: Said(now - time, time, said) for process, (time, said) in fleet.items()}


class MemoryOwners(_Port):
    """`Owners` of one stage."""

    def __init__(
        self, redis: MemoryRedis, stage: str, claim_seconds: float = CLAIM_SECONDS
    ) -> None:
        super().__init__(redis)
        self._stage = stage
        self._claim = claim_seconds

    async def take(self, partition: int, address: str) -> None:
        await self._call(lambda: self._take(partition, address))

    async def keep(self, partitions: Iterable[int], address: str) -> None:
        def keep() -> None:
            held = self._find(wanted)
            for partition in wanted:
                if held.get(partition, address) == address:
                    self._take(partition, address)

        wanted = list(partitions)
        await self._call(keep)

    async def find(self, partitions: Iterable[int]) -> Mapping[int, str]:
        wanted = list(partitions)
        return await self._call(lambda: self._find(wanted))

    def _take(self, partition: int, address: str) -> None:
        self._table("owners")[self._stage, partition] = address, self._now() + self._claim

    def _find(self, partitions: Iterable[int]) -> dict[int, str]:
        owners, now = self._table("owners"), self._now()
        found = {number: owners.get((self._stage, number), ("", 0.0)) for number in partitions}
        return {number: address for number, (address, until) in found.items() if until > now}


class MemoryNodes(_Port):
    """`Nodes`."""

    def __init__(self, redis: MemoryRedis, seconds: float = LEASE_SECONDS) -> None:
        super().__init__(redis)
        self._seconds = seconds

    async def announce(self, slot: int, url: str) -> None:
        def announce() -> None:
            self._table("nodes")[slot] = url, self._now() + self._seconds

        await self._call(announce)

    async def find(self, slots: int) -> Mapping[int, str]:
        def find() -> Mapping[int, str]:
            nodes, now = self._table("nodes"), self._now()
            return {
                slot: nodes[slot][0]
                for slot in range(slots)
                if slot in nodes and nodes[slot][1] > now
            }

        return await self._call(find)


class MemoryWatchers(_Port):
    """`Watchers`."""

    def __init__(self, redis: MemoryRedis, watch_seconds: float = WATCH_SECONDS) -> None:
        super().__init__(redis)
        self._watch = watch_seconds

    async def watch(self, users: Iterable[str], slot: int) -> None:
        def watch() -> None:
            for user in watched:
                self._table("watchers").setdefault(user, {})[slot] = self._now() + self._watch

        watched = list(users)
        await self._call(watch)

    async def find(self, users: Sequence[str]) -> Mapping[str, Sequence[int]]:
        def find() -> Mapping[str, Sequence[int]]:
            watchers, now = self._table("watchers"), self._now()
            return {
                user: [slot for slot, until in watchers.get(user, {}).items() if until > now]
                for user in users
            }

        return await self._call(find)


class MemoryQuotas(_Port):
    """`SharedQuotas`."""

    async def charge(self, charges: Sequence[Charge]) -> Sequence[float]:
        def charge() -> Sequence[float]:
            table, now = self._table("quotas"), self._now()
            levels = []
            for bucket, cost, rate, most in charges:
                held, at = table.get(bucket, (most, now))
                level = max(-most, min(most, held + (now - at) * rate) - cost)
                table[bucket] = level, now
                levels.append(level)
            return levels

        return await self._call(charge)
