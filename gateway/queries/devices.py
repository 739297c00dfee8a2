"""A user's devices: lists them, and logs one out."""

import msgspec

from connectors.kafka.ports import Producer, QueueFull
from connectors.redis.routes import Routes
from gateway.edge.pacer import Pacer, always
from gateway.queries.worker_client import WorkerClient
from gateway.receipts import Receipts
from gateway.revocations import Revocations
from schemas.codec import encode_deliveries
from schemas.events import DeviceDisconnected, DeviceLoggedOut
from schemas.ids import HTTP_DEVICE_PREFIX
from schemas.topics import DELIVERIES
from schemas.worker_api import DevicesAnswer, DevicesQuestion

_LOG_OUT_SECONDS = 0.05
"""Between two log-outs on a node."""
_devices = msgspec.json.Decoder(list[DevicesAnswer])


class Device(msgspec.Struct):
    """`online`: it is connected now."""

    device: str
    online: bool


class DeviceQueries:
    """`cursors` are the workers that know which devices have read something; there are gateway
    slots 0..slots-1."""

    def __init__(
        self,
        routes: Routes,
        cursors: WorkerClient,
        receipts: Receipts,
        producer: Producer,
        slots: int,
        revocations: Revocations,
    ) -> None:
        self._routes = routes
        self._cursors = cursors
        self._receipts = receipts
        self._producer = producer
        self._slots = slots
        self._revocations = revocations
        self._log_outs = Pacer(always(1), _LOG_OUT_SECONDS)

    async def list(self, user: str) -> tuple[list[Device], bool]:
        """(the devices that are connected, or have read something and were not logged out since, by
        name; whether some partitions did not answer). Raises RedisUnavailable,
        WorkersUnavailable."""
        routes = await self._routes.lookup([user])
        online = {name for name, _ in routes[user] if not name.startswith(HTTP_DEVICE_PREFIX)}
        partitions = range(self._cursors.partitions)
        found, complete = await self._cursors.ask_owners(
            "devices", _devices, partitions, lambda theirs: DevicesQuestion(user, theirs)
        )
        known = online.union(*found.values())
        return [Device(device, device in online) for device in sorted(known)], not complete

    def disconnect(self, user: str, device: str) -> None:
        """Close the connections of a device, or (empty) of all of the user's, wherever they are.
        Raises QueueFull."""
        self._tell_all(DeviceDisconnected(user, device))

    async def log_out(self, user: str, device: str, now: int) -> None:
        """Revoke the tokens with which the device has come until `now` (ms), close its sockets,
        wherever they are, and forget what it has read. Raises KafkaSendError, QueueFull.

        Each writes to every partition and every slot, so users take turns. Every slot is told: just
        after Redis was emptied no route says where the sockets are.
        """
        await self._log_outs.wait(user)
        await self._revocations.revoke(user, device, now, logged_out=True)
        self._tell_all(DeviceLoggedOut(user, device))
        if not self._receipts.forget(user, device):
            raise QueueFull

    def _tell_all(self, event: DeviceDisconnected | DeviceLoggedOut) -> None:
        for record in encode_deliveries([event]):
            for slot in range(self._slots):
                self._producer.send(DELIVERIES, slot, record)
