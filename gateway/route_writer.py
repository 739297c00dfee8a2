"""The routes of a node's connections: written, removed, renewed."""

import asyncio
import logging
from collections.abc import Callable, Sequence

from connectors.kafka.ports import Producer, QueueFull
from connectors.redis.client import RedisUnavailable
from connectors.redis.routes import RENEW_SECONDS, Route, Routes
from gateway.registry import ConnectionRegistry, RegisteredConnection
from gateway.resync import RESYNC
from schemas.codec import encode_deliveries
from schemas.codes import Close
from schemas.events import Delivered, SessionReplaced
from schemas.topics import DELIVERIES

log = logging.getLogger(__name__)

RENEW_ROUTES_SECONDS = 60.0
"""How often the routes of all connections are written again, whatever has become of them."""
MAX_WAITING = 100_000
"""Routes that wait to be written or removed."""
_TOGETHER = 500
"""In one round trip."""
_RENEWED_TOGETHER = 200
"""In one round trip, and one turn of the loop: a `resync` may go to each."""


class TooManyDevices(Exception):
    """The user has as many other devices, on all nodes together, as there may be."""


class _Change:
    """A route to write, with the future that its caller awaits, or (None) to remove."""

    __slots__ = ("route", "written")

    def __init__(self, route: Route, written: asyncio.Future[bool] | None) -> None:
        self.route = route
        self.written = written


class RouteWriter:
    """Writes the routes of `node`, while it has a slot. `producer` tells other nodes which of their
    connections have a later one here. `routed` is called with a user when a route of theirs is
    written: before, what was delivered to them may have passed this node by. `devices` of a user
    may be connected at once."""

    def __init__(
        self,
        node: str,
        routes: Routes,
        registry: ConnectionRegistry,
        producer: Producer,
        routed: Callable[[str], None],
        devices: int,
        renew_seconds: float = RENEW_ROUTES_SECONDS,
    ) -> None:
        self._node = node
        self._routes = routes
        self._registry = registry
        self._producer = producer
        self._routed = routed
        self._devices = devices
        self._renew_seconds = renew_seconds
        self._slot: int | None = None
        self._changes: asyncio.Queue[_Change] = asyncio.Queue(maxsize=MAX_WAITING)
        """In the order in which they came."""
        self._vanished = asyncio.Event()
        """Redis may have forgotten all routes of this node."""

    @property
    def slot(self) -> int | None:
        """Where the routes lead, None while none are written."""
        return self._slot

    def now(self) -> int:
        """`Routes.now`. Call it only while the node has a slot."""
        return self._routes.now()

    def slot_leased(self, slot: int, vanished: bool) -> None:
        """Routes point to `slot` from now on. `vanished`: all are written again, at once."""
        self._slot = slot
        if vanished:
            self._vanished.set()

    def slot_lost(self) -> None:
        """No routes are written from now on."""
        self._slot = None
        self._vanished.clear()

    async def write(self, connection: RegisteredConnection) -> bool:
        """Write the connection's route; returns when Redis has it, or False if the device has a
        later connection elsewhere. Raises RedisUnavailable, and TooManyDevices, after which the
        route is to be removed as ever."""
        if self._slot is None:
            raise RedisUnavailable("this node has no slot")
        written: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        try:
            self._changes.put_nowait(_Change(self._route(connection, self._slot), written))
        except asyncio.QueueFull:
            raise RedisUnavailable("too many connections wait for their routes") from None
        return await written

    def remove(self, connection: RegisteredConnection) -> None:
        """A connection has ended: remove its route when there is time. If too many wait, the route
        stays; it costs a record at most."""
        if self._slot is not None and not self._changes.full():
            self._changes.put_nowait(_Change(self._route(connection, self._slot), None))

    async def run(self) -> None:
        """Write and remove routes, until cancelled.

        One task does both, in order: a route must not be removed before it is written. Nor does a
        write come after the removal of the same device's route, unless a newer connection of the
        device is here or elsewhere.
        """
        while True:
            changes = [await self._changes.get()]
            while not self._changes.empty() and len(changes) < _TOGETHER:
                changes.append(self._changes.get_nowait())
            try:
                await self._write([change for change in changes if change.written is not None])
                await self._remove([change.route for change in changes if change.written is None])
            finally:
                for change in changes:  # whatever has failed: no hello waits for it for ever
                    if change.written is not None and not change.written.done():
                        change.written.set_exception(RedisUnavailable("routes are not written"))

    async def _write(self, changes: Sequence[_Change]) -> None:
        if not changes:
            return
        try:
            written = await self._routes.write_routes([change.route for change in changes])
        except RedisUnavailable as error:
            for change in changes:
                if change.written is not None and not change.written.done():
                    change.written.set_exception(error)
            return
        self._send_replaced(written.replaced)
        outdone = set(written.outdone)
        for change in changes:
            self._routed(change.route.user)
            if change.written is None or change.written.done():
                continue
            if written.others.get(change.route, 0) >= self._devices:
                change.written.set_exception(TooManyDevices())
            else:
                change.written.set_result(change.route not in outdone)

    async def _remove(self, routes: Sequence[Route]) -> None:
        ended = [route for route in routes if not self._registry.has(route.user, route.device)]
        if not ended:
            return
        try:
            await self._routes.remove_routes(ended)
        except RedisUnavailable as error:
            log.debug("%d routes are left behind: %s", len(ended), error)

    async def renew(self) -> None:
        """Make sure of all routes once a minute, and whenever Redis has forgotten them; until
        cancelled."""
        pause = self._renew_seconds
        while True:
            try:
                async with asyncio.timeout(pause):
                    await self._vanished.wait()
            except TimeoutError:
                pass
            vanished = self._vanished.is_set()
            self._vanished.clear()
            if await self._renew_all(vanished):
                pause = self._renew_seconds
            else:
                pause = RENEW_SECONDS
                if vanished:
                    await asyncio.sleep(pause)
                    self._vanished.set()

    async def _renew_all(self, vanished: bool) -> bool:
        """Write the routes of all connections again; False: try it again soon.

        R15: a connection whose route was not there gets a `resync`, because messages may have
        passed it by; `vanished`: all get one.
        """
        for connections in self._registry.slices(_RENEWED_TOGETHER):
            slot = self._slot
            if slot is None:
                return True
            routed = {self._route(connection, slot): connection for connection in connections}
            try:
                written = await self._routes.write_routes(list(routed))
            except RedisUnavailable as error:
                log.warning("routes cannot be written again now: %s", error)
                return False
            self._send_replaced(written.replaced)
            for route in written.outdone:
                routed[route].close(Close.REPLACED)
            for route in routed if vanished else written.anew:
                self._routed(route.user)
                routed[route].push(RESYNC)
            await asyncio.sleep(0)
        return True

    def _route(self, connection: RegisteredConnection, slot: int) -> Route:
        return Route(connection.user, connection.device, self._node, slot, connection.since)

    def _send_replaced(self, routes: Sequence[Route]) -> None:
        """Tell the nodes of earlier connections that these are replaced. A node that does not get
        it finds the later routes when it renews its own."""
        slots: dict[int, list[Delivered]] = {}
        for route in routes:
            slots.setdefault(route.slot, []).append(
                SessionReplaced(route.user, route.device, route.since)
            )
        for slot, events in slots.items():
            try:
                for record in encode_deliveries(events):
                    self._producer.send(DELIVERIES, slot, record)
            except QueueFull:
                log.debug("slot %d does not get the connections that are replaced", slot)
