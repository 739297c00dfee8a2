"""The Redis ports in memory, with a clock of the caller's: for tests. Held to the contract suite of
Redis."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from connectors.redis.owners import CLAIM_SECONDS
from connectors.redis.routes import CLOCKS_MS, LEASE_SECONDS, Holders, Lease, Route, Written
from connectors.redis.user_partitions import ENTRY_SECONDS, Begun, Entry, new_name
from connectors.redis.watchers import WATCH_SECONDS


class _Filing:
    """An entry of the directory, until `until`."""

    def __init__(self, epoch: str, mark: str, until: float) -> None:
        self.epoch = epoch
        self.mark: str | None = mark
        self.partitions: set[int] = set()
        self.until = until


class MemoryUserPartitions:
    """`clock` in seconds. `run` names the life of Redis: a test that brings an older copy back
    gives it another."""

    def __init__(self, clock: Callable[[], float], entry_seconds: float = ENTRY_SECONDS) -> None:
        self.run = new_name()
        self._clock = clock
        self._seconds = entry_seconds
        self._epoch = "", ""
        self._entries: dict[str, _Filing] = {}

    async def find(self, user: str) -> Entry:
        name, until = new_name(), self._clock() + self._seconds
        if self._epoch[0] != self.run:
            self._epoch = self.run, name
        entry = self._held(user)
        if entry is None or entry.epoch != self._epoch[1]:
            entry = self._entries[user] = _Filing(self._epoch[1], name, until)
        entry.until = until
        return Entry((), entry.mark) if entry.mark is not None else Entry(sorted(entry.partitions))

    async def complete(self, user: str, mark: str, partitions: Sequence[int]) -> bool:
        entry = self._held(user)
        if entry is None or entry.mark != mark:
            return False
        entry.partitions.update(partitions)
        entry.mark = None
        return True

    def add(self, begun: Begun) -> None:
        """As `Routes.lookup` does."""
        for user in begun.users:
            entry = self._held(user)
            if entry is not None:
                entry.partitions.add(begun.partition)

    def _held(self, user: str) -> _Filing | None:
        entry = self._entries.get(user)
        return entry if entry is not None and entry.until > self._clock() else None


class MemoryRoutes:
    """`clock` in seconds. `directory` is that of the same Redis."""

    def __init__(
        self,
        clock: Callable[[], float],
        lease_seconds: float = LEASE_SECONDS,
        directory: MemoryUserPartitions | None = None,
    ) -> None:
        self.directory = directory or MemoryUserPartitions(clock)
        self._clock = clock
        self._lease = lease_seconds
        self._slots: dict[int, tuple[str, float]] = {}
        self._routes: dict[str, dict[str, Route]] = {}
        self._remembers_since: float | None = None

    def _holder(self, slot: int) -> str | None:
        node, until = self._slots.get(slot, ("", 0.0))
        return node if until > self._clock() else None

    async def lookup(
        self, users: Sequence[str], begun: Begun | None = None
    ) -> Mapping[str, Sequence[tuple[str, int]]]:
        if begun is not None:
            self.directory.add(begun)
        return {
            user: [
                (route.device, route.slot)
                for route in self._routes.get(user, {}).values()
                if self._holder(route.slot) in (None, route.node)
            ]
            for user in users
        }

    def now(self) -> int:
        return round(self._clock() * 1000)

    async def acquire_slot(self, node: str, slots: int) -> int | None:
        for slot in range(slots):
            if await self.renew_slot(node, slot) is not Lease.TAKEN:
                return slot
        return None

    async def renew_slot(self, node: str, slot: int) -> Lease:
        holder = self._holder(slot)
        if holder not in (None, node):
            return Lease.TAKEN
        self._slots[slot] = node, self._clock() + self._lease
        return Lease.HELD if holder else Lease.VANISHED

    async def release_slot(self, node: str, slot: int) -> None:
        if self._holder(slot) == node:
            del self._slots[slot]

    async def nodes(self, slots: int) -> Holders:
        if self._remembers_since is None:
            self._remembers_since = self._clock()
        holders = {node for slot in range(slots) if (node := self._holder(slot)) is not None}
        return Holders(holders, self._clock() - self._remembers_since)

    async def write_routes(self, routes: Sequence[Route]) -> Written:
        anew: list[Route] = []
        outdone: list[Route] = []
        replaced: list[Route] = []
        for route in routes:
            held = self._routes.setdefault(route.user, {}).get(route.device)
            if held == route:
                continue
            if held is None or held.since <= route.since or held.since > self.now() + CLOCKS_MS:
                self._routes[route.user][route.device] = route
                anew.append(route)
                if (
                    held is not None
                    and held.node != route.node
                    and held.since < route.since - CLOCKS_MS
                ):
                    replaced += [held] if self._holder(held.slot) == held.node else []
            elif held.since > route.since + CLOCKS_MS:
                outdone.append(route)
        return Written(anew, outdone, replaced)

    async def remove_routes(self, routes: Sequence[Route]) -> None:
        for route in routes:
            if self._routes.get(route.user, {}).get(route.device) == route:
                del self._routes[route.user][route.device]


class MemoryOwners:
    """`clock` in seconds."""

    def __init__(self, clock: Callable[[], float], claim_seconds: float = CLAIM_SECONDS) -> None:
        self._clock = clock
        self._claim = claim_seconds
        self._owners: dict[int, tuple[str, float]] = {}

    async def take(self, partition: int, address: str) -> None:
        self._owners[partition] = address, self._clock() + self._claim

    async def keep(self, partitions: Iterable[int], address: str) -> None:
        wanted = list(partitions)
        held = await self.find(wanted)
        for partition in wanted:
            if held.get(partition, address) == address:
                await self.take(partition, address)

    async def find(self, partitions: Iterable[int]) -> Mapping[int, str]:
        found = {partition: self._owners.get(partition, ("", 0.0)) for partition in partitions}
        return {
            partition: address
            for partition, (address, until) in found.items()
            if until > self._clock()
        }


class MemoryNodes:
    """`clock` in seconds."""

    def __init__(self, clock: Callable[[], float], seconds: float = LEASE_SECONDS) -> None:
        self._clock = clock
        self._seconds = seconds
        self._urls: dict[int, tuple[str, float]] = {}

    async def announce(self, slot: int, url: str) -> None:
        self._urls[slot] = url, self._clock() + self._seconds

    async def find(self, slots: int) -> Mapping[int, str]:
        now = self._clock()
        return {
            slot: url for slot, (url, until) in self._urls.items() if until > now and slot < slots
        }


class MemoryWatchers:
    """`clock` in seconds."""

    def __init__(self, clock: Callable[[], float], watch_seconds: float = WATCH_SECONDS) -> None:
        self._clock = clock
        self._watch = watch_seconds
        self._slots: dict[str, dict[int, float]] = {}

    async def watch(self, users: Iterable[str], slot: int) -> None:
        for user in users:
            self._slots.setdefault(user, {})[slot] = self._clock() + self._watch

    async def find(self, users: Sequence[str]) -> Mapping[str, Sequence[int]]:
        now = self._clock()
        return {
            user: [slot for slot, until in self._slots.get(user, {}).items() if until > now]
            for user in users
        }
