"""The gateways of the model: real but for gateway/node.py, slot.py, socket.py and HTTP; of these,
what they do in which order.

What is under way moves when the test moves it, in whatever order.
"""

import asyncio
from collections.abc import Iterable, Mapping

from connectors.redis.memory import MemoryWatchers
from connectors.redis.routes import Lease, Route
from gateway.presence.announcer import PresenceAnnouncer
from gateway.presence.subscriptions import PresenceSubscriptions
from gateway.presence.typing import TypingRelay
from gateway.push import Pusher
from gateway.queries.answers import QuestionAnswerer, error_frame
from gateway.queries.conversations import ConversationQueries
from gateway.queries.history import History
from gateway.queries.marks import MarkQueries
from gateway.queries.partition_lookup import PartitionLookup
from gateway.queries.worker_client import WorkerClient
from gateway.queries.worker_transport import WorkersUnavailable
from gateway.receipts import Receipts
from gateway.registry import ConnectionRegistry
from gateway.session import (
    Ask,
    End,
    Greet,
    Reply,
    Seen,
    Session,
    State,
    Submit,
    Type,
    not_submitted,
)
from gateway.submit import Submitter
from schemas.codec import encode_event, encode_frame, join_frames
from schemas.codes import Close, Code
from schemas.events import SCHEMA_VERSION, DeliveryRecord, Receipt, SessionReplaced
from schemas.frames import MAX_QUESTIONS, Question, Resync, Welcome
from schemas.ids import user_id
from schemas.topics import DELIVERIES
from tests.property.outside import SLOTS, STAGES, Process, World


class Line:
    """A socket, both ends: `up` has come from the device and waits for the node, `down` is on its
    way to the device."""

    def __init__(self, since: int) -> None:
        self.user = ""
        self.device = ""
        self.since = since
        self.present = False
        self.goodbye = False
        self.session = Session(user_id, rate=1e9, now=0)  # a token is the user's name
        self.up: list[bytes] = []
        self.down: list[bytes | Close] = []
        self.out: list[bytes] = []
        self.asking: set[asyncio.Task[None]] = set()
        self.broken = False
        """The network between them is gone; the node has not noticed."""
        self.ended = False
        """The device has said that it goes."""
        self.closing: Close | None = None

    def push(self, frame: bytes) -> None:
        self.reply(frame)

    def answer(self, frame: bytes) -> None:
        self.reply(frame)

    def flush(self) -> None:
        if self.out and self.session.state is not State.GREETING and self.closing is None:
            self.down.append(join_frames(self.out))
            self.out.clear()

    def reply(self, frame: bytes) -> None:
        self.out.append(frame)
        self.flush()

    def close(self, code: Close, reason: str = "") -> None:
        if self.closing is None:
            self.flush()
            self.closing = code
            self.session.end()
            self.down.append(code)

    async def leave(self) -> None:
        self.close(Close.DRAINING)


class Asked:
    """A request to a worker's page: `find` makes its answer there, `arrive` brings it."""

    def __init__(
        self, world: World, url: str, body: bytes | None, query: Mapping[str, str]
    ) -> None:
        address, _, page, *_ = url.removeprefix("http://").split("/")
        self.arrived: asyncio.Future[tuple[int, bytes]] = world.loop.create_future()
        self._world = world
        self._address = address
        self._finding: asyncio.Task[tuple[int, bytes]] | None = None
        self._request = page, body, query

    @property
    def found(self) -> bool:
        return self._finding is not None and self._finding.done()

    def find(self) -> None:
        worker = self._world.workers.get(self._address)
        if worker is not None and self._finding is None:
            self._finding = self._world.loop.create_task(worker.answer(*self._request))
            self._world.loop.run_ready()

    def arrive(self) -> None:
        if self.arrived.done():
            return
        if self._finding is not None and self.found:
            self.arrived.set_result(self._finding.result())
        else:
            self.arrived.set_exception(WorkersUnavailable("no answer"))
        self._world.loop.run_ready()


class _Transport:
    """The worker API in memory."""

    def __init__(self, node: "Node") -> None:
        self._node = node

    async def close(self) -> None:
        pass

    async def request(
        self,
        method: str,
        url: str,
        body: bytes | None = None,
        params: Mapping[str, str] | None = None,
    ) -> tuple[int, bytes]:
        asked = Asked(self._node.world, url, body, params or {})
        self._node.asked.append(asked)
        return await asked.arrived


class _LateWatchers(MemoryWatchers):
    """The rule "watching is written down before it is asked" switched off."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def watch(self, users: Iterable[str], slot: int) -> None:
        def later(names: list[str] = list(users)) -> None:  # noqa: B006
            self._world.loop.create_task(self._world.redis.watchers.watch(names, slot))

        self._world.loop.call_later(0.5, later)


class Node(Process):
    """A gateway."""

    def __init__(self, world: World, name: str) -> None:
        super().__init__(world)
        self.name = name
        self.hub = ConnectionRegistry()
        self.lines: list[Line] = []
        self.asked: list[Asked] = []
        self._redis = world.redis
        self._workers = {
            stage: WorkerClient(stage, 1, world.redis.owners[stage], _Transport(self))
            for stage in STAGES
        }
        self._submitter = Submitter(self, 1)  # type: ignore[arg-type]
        self._receipts = Receipts(self, 1)  # type: ignore[arg-type]
        sequencers = self._workers["sequencer"]
        ranges = ConversationQueries(
            sequencers, PartitionLookup(self._redis.routes.directory, sequencers)
        )
        watchers = (
            _LateWatchers(world)
            if world.off == "watching is written down first"
            else world.redis.watchers
        )
        self._announcer = PresenceAnnouncer(name, 1, self)  # type: ignore[arg-type]
        self._presence = PresenceSubscriptions(self._workers["presence"], ranges, watchers)
        self._typing = TypingRelay(
            self._redis.routes,
            self,  # type: ignore[arg-type]
            self._presence,
        )
        self._questions = QuestionAnswerer(
            ranges, History(ranges, None), MarkQueries(self._workers["cursors"]), self._presence
        )
        self._pusher = Pusher(self.hub, self._presence, self._typing, lambda: None, lambda: None)
        self._watching = world.loop.create_task(self._presence.keep_watching())
        self._slot: int | None = None
        self._position = 0
        self._run = 0
        self._greeting: list[tuple[Line, int, bool]] = []
        self._take_slot()

    @property
    def ready(self) -> bool:
        return self.alive and self._slot is not None

    @property
    def busy(self) -> bool:
        unread = self._slot is not None and self._position < self.world.kafka.end(
            DELIVERIES, self._slot
        )
        return self.alive and (
            unread or bool(self.asked or self._greeting) or any(line.up for line in self.lines)
        )

    def kill(self) -> None:
        self.alive = False
        self._watching.cancel()
        for line in self.lines:
            line.broken = True
            for asking in line.asking:
                asking.cancel()
        self._presence.leased(None)
        self.world.loop.run_ready()

    def connect(self) -> Line:
        self.world.loop.advance(0.001)  # no two at once: later ones have later routes
        line = Line(self._redis.routes.now())
        self.lines.append(line)
        return line

    def read_devices(self, mood: str = "") -> None:
        """What devices have sent; how Kafka takes it."""
        self.mood = mood
        for line in list(self.lines):
            while line.up:
                for effect in line.session.receive(line.up.pop(0), 0):
                    self._carry_out(line, effect)
            self.world.loop.run_ready()
            line.flush()

    def greet(self) -> None:
        """The next step of each hello: registered in the hub, then routed and welcomed."""
        greeting, self._greeting = self._greeting, []
        for line, id_, registered in greeting:
            if line.closing is not None:
                continue
            if self._slot is None:
                line.close(Close.SLOT_LOST)
            elif not registered:
                replaced = self.hub.add(line)
                if replaced is not None:
                    replaced.close(Close.REPLACED)
                self._greeting.append((line, id_, True))
            else:
                if self._write_routes([line], self._slot):
                    line.close(Close.SLOT_LOST)
                    continue
                line.present = True
                self._announcer.came(line.user)
                line.session.welcomed()
                line.out.insert(
                    0,
                    encode_frame(
                        Welcome(id_, 1, line.user, line.device, self.name, "log", 0, 25.0)
                    ),
                )
                line.flush()

    def take_deliveries(self, most: int) -> None:
        if self._slot is not None:
            records = self.world.kafka.read(DELIVERIES, self._slot, self._position, most)
            self._position += len(records)
            self._pusher.receive(records)

    def hold(self) -> None:
        """Renew the lease (R15); who has lost the slot sends all away and takes another."""
        if self._slot is None:
            self._take_slot()
            return
        lease = self.world.loop.finish(self._redis.routes.renew_slot(self.name, self._slot))
        if lease is Lease.HELD and self._run != self._redis.run:
            lease = Lease.VANISHED
        self._run = self._redis.run
        if lease is Lease.TAKEN:
            self._presence.leased(None)
            for line in self.lines:
                line.close(Close.SLOT_LOST)
            self._take_slot()
        elif lease is Lease.VANISHED:
            if self.world.off != "routes are written again":
                for line in self._write_routes(list(self.hub), self._slot):  # type: ignore[arg-type]
                    line.close(Close.REPLACED)
            if self.world.off != "who is here is said again":
                self._announcer.announce()
                self._presence.leased(self._slot)
                self.world.loop.run_ready()
            for connection in self.hub if self.world.off != "devices are told to ask again" else ():
                connection.push(encode_frame(Resync()))

    def end_lines(self) -> None:
        """Sockets that are closed, or found dead."""
        for line in [
            line for line in self.lines if line.broken or line.ended or line.closing is not None
        ]:
            self.lines.remove(line)
            line.goodbye = line.ended and not line.broken and line.closing is None
            line.close(Close.INTERNAL)
            for asking in line.asking:
                asking.cancel()
            if (
                self.hub.remove(line)
                and self._slot is not None
                and not self.hub.has(line.user, line.device)
            ):
                self.world.loop.finish(
                    self._redis.routes.remove_routes([self._route(line, self._slot)])
                )
            if line.present:
                self._announcer.went(line.user, line.goodbye)
        self.world.loop.run_ready()
        self.asked = [asked for asked in self.asked if not asked.arrived.done()]

    def _write_routes(self, lines: list[Line], slot: int) -> list[Line]:
        """Those of devices that have later sessions elsewhere; the nodes of earlier ones are
        told."""
        routes = {self._route(line, slot): line for line in lines}
        written = self.world.loop.finish(self._redis.routes.write_routes(list(routes)))
        for route in written.replaced:
            event = SessionReplaced(route.user, route.device, route.since)
            self.world.kafka.append(
                DELIVERIES, route.slot, encode_event(DeliveryRecord(SCHEMA_VERSION, [event]))
            )
        return [routes[route] for route in written.outdone]

    def _route(self, line: Line, slot: int) -> Route:
        return Route(line.user, line.device, self.name, slot, line.since)

    def _take_slot(self) -> None:
        """R14: the position comes before the first route."""
        self._run = self._redis.run
        self._slot = self.world.loop.finish(self._redis.routes.acquire_slot(self.name, SLOTS))
        self._presence.leased(self._slot)
        if self._slot is not None:
            self._position = self.world.kafka.end(DELIVERIES, self._slot)
            self._announcer.announce()
            self.world.loop.run_ready()

    def _carry_out(self, line: Line, effect: object) -> None:
        if isinstance(effect, Submit):
            item, to = effect
            self._submitter.submit(item, lambda code: line.reply(not_submitted(item, to, code)))
        elif isinstance(effect, Reply):
            line.push(effect.frame)
        elif isinstance(effect, Seen):
            if not self._receipts.submit(
                Receipt(effect.conversation, line.user, line.device, effect.seq, effect.read)
            ):
                line.push(error_frame(None, Code.TRY_LATER))
        elif isinstance(effect, Type):
            self._typing.typing(line.user, effect.conversation)
        elif isinstance(effect, Ask):
            if len(line.asking) >= MAX_QUESTIONS:
                line.push(error_frame(effect.question.id, Code.RATE_LIMITED))
            else:
                asking = self.world.loop.create_task(self._answer(line, effect.question))
                line.asking.add(asking)
                asking.add_done_callback(line.asking.discard)
        elif isinstance(effect, Greet):
            line.user, line.device = effect.user, effect.device
            self._greeting.append((line, effect.id, False))
        elif isinstance(effect, End):
            line.close(effect.close)

    async def _answer(self, line: Line, question: Question) -> None:
        line.reply(await self._questions.answer(line, question))
