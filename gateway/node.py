"""The life of a gateway node: starts its parts, brings devices in, drains, stops."""

import asyncio
import logging

from gateway.edge.connection import Connection
from gateway.edge.drain import drain
from gateway.edge.http_senders import HttpSenders
from gateway.edge.node_services import NodeServices
from gateway.edge.transport import Transport
from gateway.greeter import NodeIdentity
from gateway.health import NodeHealth
from gateway.owned_tasks import OwnedTasks
from gateway.parts import NodeParts, NodePorts, make_parts
from gateway.session import Session
from gateway.settings import GatewaySettings
from gateway.slot_lease import SlotLease
from schemas.codes import Close

log = logging.getLogger(__name__)

_FLUSH_SECONDS = 1.0
_CLOSED_TOGETHER = 100
"""Connections that are closed in one turn of the loop."""


class Node:
    """Use it inside a running loop. `log_id` is Kafka's topic id of `messages.submitted`."""

    def __init__(self, settings: GatewaySettings, ports: NodePorts, log_id: str) -> None:
        self.id = f"{ports.random.getrandbits(48):012x}"
        self.settings = settings
        self._ports = ports
        identity = NodeIdentity(self.id, log_id, settings.heartbeat)
        self.parts: NodeParts = make_parts(
            settings, ports, identity, settings.url, self._open_slot, self._slot_taken
        )
        self._lease = SlotLease(
            self.id,
            settings.slots,
            ports.kafka,
            ports.routes,
            self,
            self.parts.receive,
            ports.dependencies.get("kafka", "messages wait"),
        )
        self._services = NodeServices(
            self.parts.writer,
            self.parts.greeter,
            self.parts.people.sends,
            self.parts.receipt_gate,
            self.parts.change_gate,
            self.parts.presence.typing,
            self.parts.queries.answerer,
            self.parts.logins,
            self.parts.expiries,
            self.parts.quotas,
            self.parts.flood_gate,
        )
        self.senders = HttpSenders(
            self.id,
            self._services,
            self.parts.registry,
            self.parts.routes,
            settings.user_devices,
            settings.frame_rate,
        )
        self._health = NodeHealth(
            ports.dependencies,
            ports.kafka,
            ports.nodes,
            ports.archive,
            self.parts.producer,
            lambda: self.slot,
        )
        self._tasks = OwnedTasks()
        self._draining = False

    # Life

    def start(self) -> None:
        """Begin to lease a slot; devices may come once `ready`."""
        self._tasks.start("writing routes", self.parts.routes.run)
        self._tasks.start("renewing routes", self.parts.routes.renew)
        self._tasks.start("resyncing devices", self.parts.resyncer.run)
        self._tasks.start("watching users", self.parts.presence.subscriptions.keep_watching)
        self._tasks.start("keeping recent windows", self.parts.queries.recent.run)
        self._tasks.start("announcing the node", self.parts.urls.announce)
        self._tasks.start("watching what the node depends on", self._health.watch)
        self._tasks.start("following revocations", self.parts.revocations.run)
        self._tasks.start("ending sessions whose tokens expire", self.parts.expiries.run)
        self._tasks.start("settling quotas", self.parts.quotas.run)
        self._tasks.start("leasing a slot", self._lease.run)

    @property
    def ready(self) -> bool:
        """Whether devices may come: their routes can be written, and count, and it is known whose
        tokens were revoked."""
        lease = self._lease
        routed = lease.slot is not None and lease.renewed
        return routed and self.parts.revocations.whole and not self._draining

    @property
    def slot(self) -> int | None:
        """The node's slot, None while it has none."""
        return self._lease.slot

    def problems(self) -> list[str]:
        """What is wrong now, one line each."""
        problems = self._health.problems()
        if not self.parts.revocations.whole:
            problems.append("this node does not know yet whose tokens were revoked")
        return problems

    @property
    def connections(self) -> int:
        """How many devices are connected. A user who sends over HTTP counts as none."""
        return len(self.parts.registry) - len(self.senders)

    def away(self) -> dict[str, str]:
        """The outside systems that cannot be reached now, and why."""
        return self._ports.dependencies.away()

    async def drain(self) -> None:
        """Let nobody in any more, and send all connections away, over `drain_seconds`. Cancel it to
        send them no further."""
        self._draining = True
        self.parts.greeter.drain()
        seconds = self.settings.drain_seconds
        log.info("draining %d sessions over %g s", len(self.parts.registry), seconds)
        try:
            await drain(self.parts.registry, seconds, self._ports.random.shuffle)
        finally:
            log.info("drained; %d sessions are left", len(self.parts.registry))

    async def stop(self) -> None:
        """Close what is left, and stop the parts, in reverse order. The ports stay open."""
        self._draining = True
        self.parts.greeter.drain()
        await self._close_all(Close.DRAINING)
        await self._tasks.stop()
        self.parts.receipts.flush()
        await self.parts.people.lists.close()
        await self.parts.producer.close(_FLUSH_SECONDS)

    # Devices

    def refusal(self) -> str | None:
        """Why no device may come to this node, None if one may."""
        return None if self.ready else "not ready; try another node"

    def has_room(self) -> bool:
        """Whether one more device may come now."""
        return self.parts.greeter.has_room()

    def accept(self, transport: Transport, waited_ms: int, address: str = "") -> Connection:
        """A device has come from `address`; its request has waited in the kernel for `waited_ms`.
        Call it while `ready`."""
        now = asyncio.get_running_loop().time()
        session = Session(self.parts.logins.login, self.settings.frame_rate, now)
        since = self.parts.routes.now() - waited_ms
        return Connection(self._services, session, transport, since, address)

    def now(self) -> int:
        """The time in ms."""
        return self._ports.now()

    # The slot (`SlotUser`)

    def slot_leased(self, slot: int, vanished: bool) -> None:
        self.parts.routes.slot_leased(slot, vanished)
        self.parts.presence.subscriptions.leased(slot)
        self.parts.presence.announcer.announce()

    async def slot_lost(self) -> None:
        self.parts.routes.slot_lost()
        self.parts.presence.subscriptions.leased(None)
        await self._close_all(Close.SLOT_LOST)

    async def _close_all(self, close: Close) -> None:
        for connections in self.parts.registry.slices(_CLOSED_TOGETHER):
            for connection in connections:
                connection.close(close)
            await asyncio.sleep(0)

    def _open_slot(self) -> int | None:
        return self._lease.slot if self.ready else None

    def _slot_taken(self, node: str) -> None:
        self._lease.slot_taken(node)
