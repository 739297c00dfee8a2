"""Lets a device in: it registers the connection, then writes its route, then welcomes it. It also
lets the device out again."""

import asyncio
import logging
from collections.abc import Callable
from typing import NamedTuple, Protocol

from connectors.redis.client import RedisUnavailable
from gateway.edge.crowd import Crowd
from gateway.edge.pacer import Pace, Pacer
from gateway.log_throttle import LogThrottle
from gateway.node_urls import NodeUrls
from gateway.presence.announcer import PresenceAnnouncer
from gateway.presence.subscriptions import PresenceSubscriptions
from gateway.registry import ConnectionRegistry, RegisteredConnection
from gateway.route_writer import RouteWriter, TooManyDevices
from schemas.codec import encode_frame
from schemas.codes import Close
from schemas.frames import CURRENT_VERSION, Welcome

log = logging.getLogger(__name__)

MAX_ARRIVING = 1_000
"""Connections that are not welcomed yet. More wait: at 2,000 logins/s there are so many whose
hello is on its way for half a second."""
_SILENT_SECONDS = 1.0
"""When all of a dead node's devices come at once, a hello is on its way for less."""
_GREETED = Pace(8, 2, 32)
"""The node starts to answer so many hellos within 4 ms; more wait."""


class Refusal(NamedTuple):
    """Why a device is not let in; `reason` instead of the code's text."""

    close: Close
    reason: str = ""


class NodeIdentity(NamedTuple):
    """What a welcome says of the node: its id, new at each start; the id of the message log; the
    seconds between its pings."""

    node: str
    log: str
    heartbeat: float


class Arriving(RegisteredConnection, Protocol):
    """A connection that has not said hello yet."""

    def make_room(self) -> None:
        """End now: others wait for the place."""


class Greets(Protocol):
    """What lets connections in, as a connection sees it."""

    def arrived(self, connection: Arriving, address: str) -> None:
        """There is one more connection, from `address`, that has not been welcomed."""

    def settled(self, connection: Arriving) -> None:
        """One of these has been welcomed, or is refused, or has ended."""

    def take_turn(self, connection: Arriving, read: Callable[[], None]) -> None:
        """Call `read` when the connection's hello may be read."""

    async def welcome(
        self, connection: RegisteredConnection, command_id: int, stay: bool
    ) -> bytes | Refusal:
        """The welcome frame, or why the device is not let in."""

    def ended(self, connection: RegisteredConnection, welcomed: bool, said_goodbye: bool) -> None:
        """A connection has ended; `welcomed`: it had been."""


class Greeter:
    """`Greets` devices. `urls`, if devices are sent to the right node for their user; `now` is the
    time in ms; `devices` of a user may be connected to this node at once."""

    def __init__(
        self,
        identity: NodeIdentity,
        registry: ConnectionRegistry,
        routes: RouteWriter,
        announcer: PresenceAnnouncer,
        subscriptions: PresenceSubscriptions,
        urls: NodeUrls | None,
        now: Callable[[], int],
        devices: int,
    ) -> None:
        self._identity = identity
        self._registry = registry
        self._routes = routes
        self._announcer = announcer
        self._subscriptions = subscriptions
        self._urls = urls
        self._now = now
        self._devices = devices
        self._silent = Crowd[Arriving](asyncio.get_running_loop().time)
        self._hellos = Pacer(_GREETED)
        self._draining = False
        self._sent_away = LogThrottle(log.warning)
        self.arriving = 0
        """Connections that are not welcomed yet."""
        self.made_room = 0
        """Silent ones that went because others waited."""

    def drain(self) -> None:
        """Let nobody in any more."""
        self._draining = True

    def arrived(self, connection: Arriving, address: str) -> None:
        self.arriving += 1
        self._silent.add(connection, address)

    def settled(self, connection: Arriving) -> None:
        self.arriving -= 1
        self._silent.remove(connection)

    def has_room(self) -> bool:
        """Whether one more may come now. If there is no room, one goes that has said nothing for
        _SILENT_SECONDS: a client that opens sockets and is silent keeps nobody out for long."""
        if self.arriving >= MAX_ARRIVING:
            silent = self._silent.pop(_SILENT_SECONDS)
            if silent is not None:
                self.made_room += 1
                silent.make_room()
        return self.arriving < MAX_ARRIVING

    def take_turn(self, connection: Arriving, read: Callable[[], None]) -> None:
        # When a node has died, many come at once.
        self._silent.remove(connection)
        self._hellos.put(connection, read)

    async def welcome(
        self, connection: RegisteredConnection, command_id: int, stay: bool
    ) -> bytes | Refusal:
        # The connection is registered before it is routed, so that what is delivered to the route
        # finds it.
        if self._draining:
            return Refusal(Close.DRAINING)
        if self._urls is not None and not stay:
            url = await self._urls.right_node(connection.user)
            if url is not None and url != self._urls.own:
                return Refusal(Close.REDIRECTED, url)
        if self._registry.is_full(connection.user, connection.device, self._devices):
            return Refusal(Close.TOO_MANY_DEVICES)
        replaced = self._registry.add(connection)
        if replaced is not None:
            replaced.close(Close.REPLACED)
        try:
            latest = await self._routes.write(connection)
        except RedisUnavailable as error:
            self._sent_away(f"a session of {connection.user} is sent away: {error}")
            return Refusal(Close.SLOT_LOST)
        except TooManyDevices:
            return Refusal(Close.TOO_MANY_DEVICES)
        if not latest:
            # Most likely the device is elsewhere and nobody reads this; but if a clock is wrong,
            # this is the latest connection, and the device must come again.
            return Refusal(Close.SLOT_LOST)
        self._announcer.came(connection.user)
        return encode_frame(
            Welcome(
                command_id,
                CURRENT_VERSION,
                connection.user,
                connection.device,
                self._identity.node,
                self._identity.log,
                self._now(),
                self._identity.heartbeat,
            )
        )

    def ended(self, connection: RegisteredConnection, welcomed: bool, said_goodbye: bool) -> None:
        self._hellos.leave(connection)
        if self._registry.remove(connection):
            self._routes.remove(connection)
        self._subscriptions.ended(connection)
        if welcomed:
            self._announcer.went(connection.user, said_goodbye)
