"""The node's gateway slot: leased in Redis, read in Kafka, and the routes that point to it.

R14: the start position in `deliveries` is resolved before the first route is written, so nothing
that is routed here is missed. A slot lost to another node closes all sockets; one whose lease
merely vanished is taken again and keeps them, and they are told to ask what they have missed (R15).
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence

from connectors.kafka.consumer import PartitionConsumer
from connectors.kafka.ports import ReadTimeout
from connectors.kafka.reader import Reader
from connectors.kafka.record import Record
from connectors.redis.client import RedisUnavailable
from connectors.redis.routes import RENEW_SECONDS, Lease, Route, Routes
from gateway.registry import Connection, ConnectionRegistry
from schemas.codec import encode_frame
from schemas.codes import Close
from schemas.frames import Resync
from schemas.topics import DELIVERIES

log = logging.getLogger(__name__)

KEEP_SECONDS = 60.0
"""How often the routes of all sessions are written again, whatever has become of them."""
_RESYNC = encode_frame(Resync())


class SlotLease:
    """Keeps a slot for `node` until cancelled. Sessions may be routed here while `ready`.

    `on_held` is told the slot whenever it is taken, or taken again after its lease had vanished,
    and None when it is lost; `on_replaced` the routes of other living nodes that a session's took
    the place of.
    """

    def __init__(
        self,
        node: str,
        slots: int,
        kafka: str,
        routes: Routes,
        hub: ConnectionRegistry,
        on_records: Callable[[list[Record]], None],
        on_held: Callable[[int | None], None],
        on_replaced: Callable[[Sequence[Route]], None],
        keep_seconds: float = KEEP_SECONDS,
    ) -> None:
        self.node = node
        self.number: int | None = None
        self._slots = slots
        self._kafka = kafka
        self._routes = routes
        self._hub = hub
        self._on_records = on_records
        self._on_held = on_held
        self._on_replaced = on_replaced
        self._keep_seconds = keep_seconds
        self._consumer: PartitionConsumer | None = None
        self._lost = asyncio.Event()
        self._changes: asyncio.Queue[tuple[Route, asyncio.Future[bool] | None]] = asyncio.Queue(
            maxsize=100_000
        )
        """Routes to write, each with who waits for it, and (None) to take back, in order."""

    @property
    def ready(self) -> bool:
        return self._consumer is not None

    async def run(self) -> None:
        """Take a slot, hold it, take another when it is lost."""
        writer = asyncio.create_task(self._write_routes())
        try:
            while True:
                await self._take()
                await self._hold()
                await self._let_go(Close.SLOT_LOST)
        finally:
            writer.cancel()

    async def stop(self) -> None:
        """Give the slot back; call it after `run` was cancelled."""
        await self._let_go(Close.DRAINING)

    async def route(self, user: str, device: str, since: int) -> bool:
        """Write the route of a session; returns when Redis has it, or False if the device has a
        later session elsewhere. Raises RedisUnavailable."""
        if self.number is None or not self.ready:
            raise RedisUnavailable("this node holds no slot")
        written: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        try:
            self._changes.put_nowait((Route(user, device, self.node, self.number, since), written))
        except asyncio.QueueFull:
            raise RedisUnavailable("too many sessions are waiting for their routes") from None
        return await written

    def unroute(self, user: str, device: str, since: int) -> None:
        """A session has ended; its route goes when there is time for it. One left behind costs a
        record at most."""
        if self.number is not None and not self._changes.full():
            self._changes.put_nowait((Route(user, device, self.node, self.number, since), None))

    async def _take(self) -> None:
        while self.number is None:
            try:
                self.number = await self._routes.acquire_slot(self.node, self._slots)
                if self.number is None:
                    log.error("all %d gateway slots are taken; waiting for one", self._slots)
            except RedisUnavailable as error:
                log.warning("no gateway slot yet: %s", error)
            if self.number is None:
                await asyncio.sleep(RENEW_SECONDS)
        while not self.ready:
            try:
                position = await asyncio.to_thread(self._end_of_deliveries, self.number)
            except ReadTimeout as error:
                log.warning("no position in deliveries yet: %s", error)
                continue
            self._lost.clear()
            self._consumer = PartitionConsumer(
                self._kafka, DELIVERIES, self.number, position, self._on_records, self._on_lost
            )
        log.info(
            "node %s holds gateway slot %d from offset %d on", self.node, self.number, position
        )
        self._on_held(self.number)

    def _end_of_deliveries(self, slot: int) -> int:
        reader = Reader(self._kafka, timeout=10.0)
        try:
            return reader.watermarks(DELIVERIES, slot)[1]
        finally:
            reader.close()

    async def _hold(self) -> None:
        """Renew the lease until the slot is lost."""
        assert self.number is not None
        clock = asyncio.get_running_loop().time
        keep_at, vanished = clock() + self._keep_seconds, False
        while not self._lost.is_set():
            try:
                lease = await self._routes.renew_slot(self.node, self.number)
            except RedisUnavailable as error:
                log.warning("the lease of slot %d cannot be renewed now: %s", self.number, error)
            else:
                if lease is Lease.TAKEN:
                    log.error("another node holds slot %d", self.number)
                    return
                if lease is Lease.VANISHED:
                    log.warning(
                        "the lease of slot %d had vanished; writing %d routes again",
                        self.number,
                        len(self._hub),
                    )
                    keep_at, vanished = clock(), True
            if clock() >= keep_at and await self._keep_all(vanished):
                keep_at = clock() + self._keep_seconds
                if vanished:
                    self._on_held(self.number)
                    self._resync(self._hub)
                    vanished = False
            try:
                async with asyncio.timeout(RENEW_SECONDS):
                    await self._lost.wait()
            except TimeoutError:
                pass

    async def _keep_all(self, vanished: bool) -> bool:
        """Make sure of every session's route; False: try again. Those that had none are told to
        ask, unless all will be."""
        assert self.number is not None
        connections = {
            Route(c.user, c.device, self.node, self.number, c.since): c for c in self._hub
        }
        routes = list(connections)
        for start in range(0, len(routes), 500):
            try:
                written = await self._routes.write_routes(routes[start : start + 500])
            except RedisUnavailable as error:
                log.warning("routes cannot be written again now: %s", error)
                return False
            self._on_replaced(written.replaced)
            for route in written.outdone:
                connections[route].close(Close.REPLACED)
            if not vanished:
                self._resync(connections[route] for route in written.anew)
        return True

    @staticmethod
    def _resync(connections: Iterable[Connection]) -> None:
        """R15: while there was no route, messages may have passed these devices by."""
        for connection in connections:
            connection.push(_RESYNC)
            connection.flush()

    def _on_lost(self, reason: str) -> None:
        log.error("the place in deliveries is lost: %s", reason)
        self._lost.set()

    async def _let_go(self, close: Close) -> None:
        self._on_held(None)
        for connection in self._hub:
            connection.close(close)
        number, consumer, self._consumer, self.number = self.number, self._consumer, None, None
        if consumer is not None:
            await consumer.close()
        if number is not None:
            try:
                await self._routes.release_slot(self.node, number)
            except RedisUnavailable as error:
                log.warning("the lease runs out by itself: %s", error)

    async def _write_routes(self) -> None:
        """One task: a route must not be taken back before it is written. Nor is one that is written
        after it was taken back: it is another session's, or that session is here."""
        while True:
            changes = [await self._changes.get()]
            while not self._changes.empty() and len(changes) < 500:
                changes.append(self._changes.get_nowait())
            await self._write(
                [(route, written) for route, written in changes if written is not None]
            )
            await self._take_back([route for route, written in changes if written is None])

    async def _write(self, writing: list[tuple[Route, asyncio.Future[bool]]]) -> None:
        if not writing:
            return
        try:
            written = await self._routes.write_routes([route for route, _ in writing])
        except RedisUnavailable as error:
            for _, waiting in writing:
                if not waiting.done():
                    waiting.set_exception(error)
            return
        self._on_replaced(written.replaced)
        outdone = set(written.outdone)
        for route, waiting in writing:
            if not waiting.done():
                waiting.set_result(route not in outdone)

    async def _take_back(self, routes: list[Route]) -> None:
        ended = [route for route in routes if not self._hub.has(route.user, route.device)]
        if not ended:
            return
        try:
            await self._routes.remove_routes(ended)
        except RedisUnavailable as error:
            log.debug("%d routes are left behind: %s", len(ended), error)
