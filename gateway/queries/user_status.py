"""What operators ask of a user: which devices are where, and which tokens do not count."""

import msgspec

from connectors.redis.nodes import Nodes
from connectors.redis.routes import Routes
from gateway.queries.devices import DeviceQueries
from gateway.queries.worker_transport import WorkersUnavailable
from gateway.revocations import RevocationBook


class PlacedDevice(msgspec.Struct):
    """A device, or (`http.` and a node's id) a user who sends over HTTP. `slot` and `url` are those
    of the gateway to which it is connected, null if it is not; `url` also if the gateway has not
    announced itself."""

    device: str
    online: bool
    slot: int | None
    url: str | None


class RevokedTokens(msgspec.Struct):
    """Tokens of `device` (empty: of all devices) that were made before `before` (ms) do not
    count."""

    device: str
    before: int


class UserStatus(msgspec.Struct):
    """`pending`: devices that are not connected may be missing."""

    user: str
    devices: list[PlacedDevice]
    revoked: list[RevokedTokens]
    pending: bool


class UserStatusQueries:
    """There are gateway slots 0..slots-1."""

    def __init__(
        self, routes: Routes, nodes: Nodes, slots: int, devices: DeviceQueries, book: RevocationBook
    ) -> None:
        self._routes = routes
        self._nodes = nodes
        self._slots = slots
        self._devices = devices
        self._book = book

    async def status(self, user: str) -> UserStatus:
        """Raises RedisUnavailable."""
        slot_of = dict((await self._routes.lookup([user]))[user])
        urls = await self._nodes.find(self._slots)
        try:
            known, pending = await self._devices.list(user)
        except WorkersUnavailable:
            known, pending = [], True
        placed = []
        for name in sorted({*slot_of, *(one.device for one in known)}):
            slot = slot_of.get(name)
            url = None if slot is None else urls.get(slot)
            placed.append(PlacedDevice(name, slot is not None, slot, url))
        revoked = [RevokedTokens(one.device, one.before) for one in self._book.of(user)]
        return UserStatus(user, placed, revoked, pending)
