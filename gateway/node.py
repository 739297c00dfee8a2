"""A gateway node: builds its parts, runs them, stops them in reverse order."""

import asyncio
import gc
import logging
import random
import signal
import time
from collections.abc import Sequence

import uvloop
from aiohttp import web

from connectors.clickhouse.archive import ClickHouseArchive
from connectors.clickhouse.client import ClickHouseClient
from connectors.kafka.admin import TopicsAdmin
from connectors.kafka.ports import QueueFull
from connectors.kafka.producer import KafkaProducer
from connectors.redis.client import RedisClient, RedisUnavailable
from connectors.redis.nodes import RedisNodes
from connectors.redis.owners import RedisOwners
from connectors.redis.routes import RENEW_SECONDS, RedisRoutes, Route
from connectors.redis.user_partitions import RedisUserPartitions
from connectors.redis.watchers import RedisWatchers
from gateway.edge.admission import AdmissionControl, come_again
from gateway.edge.drain import drain
from gateway.edge.http import make_web_app
from gateway.edge.pacer import Pacer
from gateway.edge.socket import Redirect, SocketConnection, new_node_id
from gateway.edge.tcp_info import waited_ms
from gateway.edge.tokens import verify
from gateway.log_throttle import LogThrottle
from gateway.presence.announcer import PresenceAnnouncer
from gateway.presence.subscriptions import PresenceSubscriptions
from gateway.presence.typing import TypingRelay
from gateway.push import Pusher
from gateway.queries.answers import QuestionAnswerer
from gateway.queries.conversations import ConversationQueries
from gateway.queries.devices import DeviceQueries
from gateway.queries.history import History
from gateway.queries.marks import MarkQueries
from gateway.queries.partition_lookup import PartitionLookup
from gateway.queries.worker_client import WorkerClient
from gateway.queries.worker_transport import HttpWorkerTransport
from gateway.receipts import Receipts
from gateway.registry import ConnectionRegistry
from gateway.rendezvous import right_node
from gateway.session import Session
from gateway.settings import GatewaySettings
from gateway.slot_lease import SlotLease
from gateway.submit import PRODUCER, Submitter
from schemas.codec import encode_event, encode_frame
from schemas.codes import Close
from schemas.events import SCHEMA_VERSION, Delivered, DeliveryRecord, SessionReplaced
from schemas.frames import CURRENT_VERSION, Welcome
from schemas.ids import UserId
from schemas.topics import DELIVERIES, SUBMITTED

log = logging.getLogger(__name__)

MAX_ARRIVING = 500
"""Sessions that are not welcomed yet; more are told to come again."""
_GREETED = 5
"""Hellos that are answered within 4 ms; more wait for their turn."""
_FLUSH_SECONDS = 1.0
_READ_SECONDS = 5.0


class Node:
    """One gateway process's parts, wired. Use it inside a running loop."""

    def __init__(self, settings: GatewaySettings, log_id: str) -> None:
        self.id = new_node_id()
        self._settings = settings
        self._log_id = log_id
        self._hub = ConnectionRegistry()
        self._redis = RedisClient(settings.redis)
        self._lease_redis = RedisClient(settings.redis)
        """Beside it, so that a node keeps its slot however many questions wait for a connection."""
        self._producer = KafkaProducer(settings.kafka, PRODUCER, self._producer_failed)
        self._submitter = Submitter(self._producer, settings.partitions)
        partitions = settings.partitions
        self._worker_transport = HttpWorkerTransport()
        self._sequencers, self._cursors, self._presence_workers = (
            WorkerClient(stage, partitions, RedisOwners(self._redis, stage), self._worker_transport)
            for stage in ("sequencer", "cursors", "presence")
        )
        self._receipts = Receipts(self._producer, partitions)
        self._archive = (
            ClickHouseArchive(ClickHouseClient(settings.clickhouse, _READ_SECONDS))
            if settings.clickhouse
            else None
        )
        self._lookup = PartitionLookup(RedisUserPartitions(self._redis), self._sequencers)
        conversations = ConversationQueries(self._sequencers, self._lookup)
        self._history = History(conversations, self._archive)
        self._routes = RedisRoutes(self._lease_redis)
        self._announcer = PresenceAnnouncer(self.id, partitions, self._producer)
        self._subscriptions = PresenceSubscriptions(
            self._presence_workers, conversations, RedisWatchers(self._redis)
        )
        self._typing = TypingRelay(self._routes, self._producer, self._subscriptions)
        self._questions = QuestionAnswerer(
            conversations, self._history, MarkQueries(self._cursors), self._subscriptions
        )
        self._pusher = Pusher(self._hub, self._subscriptions, self._typing)
        self._slot = SlotLease(
            *(self.id, settings.slots, settings.kafka, self._routes, self._hub),
            *(self._pusher.take, self._held, self._replaced),
        )
        self._nodes = RedisNodes(self._redis)
        self._devices = DeviceQueries(
            self._routes, self._cursors, self._receipts, self._producer, settings.slots
        )
        self._door = AdmissionControl()
        self._hellos = Pacer(_GREETED)
        self._arriving: set[SocketConnection] = set()
        """Sessions that have not been welcomed yet."""
        self._sent_away = LogThrottle(log.warning)
        self._nodes_unknown = LogThrottle(log.info)
        self.turned_away = 0
        self.slow_readers = 0
        self.url = settings.public_url or f"http://{settings.http_host}:{settings.http_port}"
        self._draining = False
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()
        self._code = 0

    @property
    def ready(self) -> bool:
        return self._slot.ready and not self._draining

    def metrics(self) -> dict[str, float]:
        return {
            "connections": len(self._hub),
            "submitted_total": self._submitter.submitted,
            "turned_away_total": self._submitter.turned_away,
            "pushed_total": self._pusher.pushed,
            "receipts_total": self._receipts.submitted,
            "questions": sum(
                workers.under_way
                for workers in (self._sequencers, self._cursors, self._presence_workers)
            ),
            "users_known_total": self._lookup.known,
            "users_asked_for_everywhere_total": self._lookup.asked_everywhere,
            "users_filled_total": self._lookup.filled,
            "requests_waiting": len(self._door.turns),
            "arriving": len(self._arriving),
            "arrivals_turned_away_total": self.turned_away + self._door.turned_away,
            "slow_readers_total": self.slow_readers,
            "unacknowledged": len(self._producer),
            "ready": float(self.ready),
        }

    async def run(self) -> int:
        """Serve until SIGTERM or SIGINT (0), or until the node can no longer do its work (1).

        A second signal cuts the drain short.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self.stop)
        holding = asyncio.create_task(self._slot.run())
        holding.add_done_callback(self._slot_ended)
        watching = asyncio.create_task(self._subscriptions.keep_watching())
        announcing = asyncio.create_task(self._announce())
        settings = self._settings
        app = make_web_app(
            self, self._history, self._devices, settings.token_secret, settings.local
        )
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        assert runner.server is not None
        listening = await self._door.open(runner.server, settings.http_host, settings.http_port)
        log.info("node %s serves http://%s:%d/", self.id, settings.http_host, settings.http_port)
        if settings.local:
            log.warning("LOCAL MODE: anybody logs in as anybody, without a password")
        await self._stop.wait()
        self._draining = True
        if self._code == 0:
            await self._drain()
        for task in (holding, watching, announcing):
            task.cancel()
        await asyncio.gather(holding, watching, announcing, return_exceptions=True)
        await self._producer.close(_FLUSH_SECONDS)
        await self._slot.stop()
        listening.close()
        await runner.cleanup()
        await self._worker_transport.close()
        if self._archive is not None:
            await self._archive.close()
        await self._redis.close()
        await self._lease_redis.close()
        return self._code

    def stop(self) -> None:
        """Drain and end; the second time: end now."""
        if self._stop.is_set():
            self._hurry.set()
        self._stop.set()

    async def _drain(self) -> None:
        log.info("draining %d sessions over %g s", len(self._hub), self._settings.drain_seconds)
        draining = asyncio.create_task(
            drain(self._hub, self._settings.drain_seconds, random.shuffle)
        )
        hurried = asyncio.create_task(self._hurry.wait())
        await asyncio.wait((draining, hurried), return_when=asyncio.FIRST_COMPLETED)
        for task in (draining, hurried):
            task.cancel()
        log.info("drained; %d sessions are left", len(self._hub))

    async def serve_socket(self, request: web.Request) -> web.StreamResponse:
        if not self.ready:
            return _come_again("not ready; try another node")
        if len(self._arriving) >= MAX_ARRIVING:
            self.turned_away += 1
            return _come_again("too many sessions have not said hello yet")
        settings = self._settings
        session = Session(self._verify, settings.frame_rate, asyncio.get_running_loop().time())
        connection = SocketConnection(
            *(session, self._submitter, self._receipts, self._typing, self._questions, self),
            settings.heartbeat,
            self._routes.now() - waited_ms(request.transport),
        )
        self._arriving.add(connection)
        try:
            return await connection.serve(request)
        finally:
            self._arriving.discard(connection)  # also of a request that is no WebSocket's

    def _verify(self, token: str) -> UserId:
        return verify(token, self._settings.token_secret, time.time())

    async def turn(self) -> None:
        await self._hellos.take()

    async def welcome(
        self, connection: SocketConnection, command_id: int, stay: bool
    ) -> bytes | Close | Redirect:
        """Registered in the hub first, then routed: what is delivered to the route finds the
        session."""
        try:
            return await self._welcome(connection, command_id, stay)
        finally:
            self._arriving.discard(connection)

    async def _welcome(
        self, connection: SocketConnection, command_id: int, stay: bool
    ) -> bytes | Close | Redirect:
        if self._draining:
            return Close.DRAINING
        if self._settings.redirect and not stay:
            url = await self.right_node(connection.user)
            if url not in (None, self.url):
                return Redirect(str(url))
        replaced = self._hub.add(connection)
        if replaced is not None:
            replaced.close(Close.REPLACED)
        try:
            latest = await self._slot.route(connection.user, connection.device, connection.since)
        except RedisUnavailable as error:
            self._sent_away(f"a session of {connection.user} is sent away: {error}")
            return Close.SLOT_LOST
        if not latest:  # most likely nobody hears it; but by a wrong clock it may be the latest, and it must come again
            return Close.SLOT_LOST
        connection.present = True
        self._announcer.came(connection.user)
        return encode_frame(
            Welcome(
                command_id,
                CURRENT_VERSION,
                connection.user,
                connection.device,
                self.id,
                self._log_id,
                int(time.time() * 1000),
                self._settings.heartbeat,
            )
        )

    async def right_node(self, user: str) -> str | None:
        """The URL of the node on which the user's devices should meet, None if that is not known
        now."""
        try:
            return right_node(user, (await self._nodes.find(self._settings.slots)).values())
        except RedisUnavailable as error:
            self._nodes_unknown(f"the nodes are not known now: {error}")
            return None

    def too_slow(self) -> None:
        self.slow_readers += 1

    def goodbye(self, connection: SocketConnection) -> None:
        if self._hub.remove(connection):
            self._slot.unroute(connection.user, connection.device, connection.since)
        self._subscriptions.ended(connection)
        if connection.present:
            self._announcer.went(connection.user, connection.goodbye)

    async def _announce(self) -> None:
        """Say where this node is, while devices may come."""
        while True:
            announced = False
            if self.ready and self._slot.number is not None:
                try:
                    await self._nodes.announce(self._slot.number, self.url)
                    announced = True
                except RedisUnavailable as error:
                    log.debug("this node is not announced now: %s", error)
            await asyncio.sleep(RENEW_SECONDS if announced else RENEW_SECONDS / 20)

    def _held(self, slot: int | None) -> None:
        """The slot is held, or held again after its lease had vanished; or there is none."""
        self._subscriptions.leased(slot)
        if slot is not None:
            self._announcer.announce()

    def _replaced(self, routes: Sequence[Route]) -> None:
        """Tell their nodes; one that does not hear of it finds the later routes when it makes sure
        of its own."""
        slots: dict[int, list[Delivered]] = {}
        for route in routes:
            slots.setdefault(route.slot, []).append(
                SessionReplaced(route.user, route.device, route.since)
            )
        for slot, events in slots.items():
            try:
                self._producer.send(
                    DELIVERIES, slot, encode_event(DeliveryRecord(SCHEMA_VERSION, events))
                )
            except QueueFull:
                log.debug("slot %d is not told of sessions that are replaced", slot)

    def _producer_failed(self, reason: str) -> None:
        self._end(f"the Kafka producer is unusable: {reason}")

    def _slot_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            self._end(f"holding the gateway slot failed: {task.exception()!r}")

    def _end(self, reason: str) -> None:
        log.critical("ending: %s", reason)
        self._code = 1
        self._stop.set()


def _come_again(why: str) -> web.Response:
    return web.json_response(come_again(why), status=503, headers={"Retry-After": "1"})


def run(settings: GatewaySettings) -> int:
    """Run a node until it is told to stop. Raises TopicsWrong, KafkaUnreachable."""
    # Few at a time: messages wait meanwhile, and thousands of new sessions would otherwise be gone
    # through in pauses of 15 ms.
    gc.set_threshold(5_000, 1, 25_000)
    admin = TopicsAdmin(settings.kafka, settings.partitions, settings.slots)
    admin.require()

    async def main() -> int:
        return await Node(settings, admin.ids()[SUBMITTED]).run()

    return uvloop.run(main())
