"""A gateway node on ports in memory, and devices whose network is a list."""

import asyncio
import json
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from connectors.dependency import Dependencies
from connectors.kafka.memory import MemoryKafka
from connectors.kafka.memory_broker import MemoryBroker
from connectors.redis.memory import (
    MemoryNodes,
    MemoryOwners,
    MemoryQuotas,
    MemoryRoutes,
    MemoryWatchers,
)
from connectors.redis.memory_recent import MemoryRecentWindows
from connectors.redis.memory_server import MemoryRedis, MemoryRedisServer
from connectors.redis.routes import Routes
from gateway.edge.connection import Connection
from gateway.edge.tokens import JwtVerifier, Secrets, TokenRules, issue
from gateway.node import Node
from gateway.parts import STAGES, NodePorts
from gateway.queries.worker_transport import WorkersUnavailable
from gateway.settings import GatewaySettings
from schemas.codec import encode_deliveries
from schemas.codes import Close
from schemas.events import Delivered, MessageDelivered, PresenceState
from schemas.ids import user_id
from schemas.topics import (
    DELIVERIES,
    PEOPLE_SUBMITTED,
    PRESENCE_SUBMITTED,
    RECEIPTS,
    REVOCATIONS,
    SUBMITTED,
)
from schemas.worker_api import (
    PresenceAnswer,
    PresenceQuestion,
    Stance,
    StancesAnswer,
    StancesQuestion,
)

SLOTS = 2
SECRET = "s" * 32
_TOPICS = {
    SUBMITTED: 1,
    RECEIPTS: 1,
    PRESENCE_SUBMITTED: 1,
    PEOPLE_SUBMITTED: 1,
    REVOCATIONS: 1,
    DELIVERIES: SLOTS,
}


SEND = {
    "t": "send",
    "to": "bob",
    "outbox": "0" * 32,
    "ordinal": 1,
    "key": "f" * 32,
    "body": "hi",
    "round": 1,
}


def message(user: str, seq: int) -> MessageDelivered:
    """A message to the user, as the sequencer delivers it."""
    frame = b'{"t":"message","seq":%d}' % seq
    return MessageDelivered("alice:bob", seq, "someone", "phone", [user], frame)


class Device:
    """`Transport`, and what the device at its other end sends and gets."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self.messages: list[list[dict[str, Any]]] = []
        """The frames of each message that came."""
        self.closed: list[Close] = []
        self.turns: list[int] = []
        """The turns of the loop in which something came."""
        self.waiting_bytes = 0
        self.aborted = False
        self._vanished = False
        self._reading = asyncio.Event()
        self._reading.set()
        self.connection: Connection

    def write(self, frames: Sequence[bytes]) -> None:
        self.turns.append(self._world.turn())
        self.messages.append([json.loads(frame) for frame in frames])

    def close(self, code: Close, reason: str) -> None:
        self.turns.append(self._world.turn())
        self.closed.append(code)
        asyncio.get_running_loop().call_soon(self.vanish)

    def abort(self) -> None:
        self.aborted = True
        asyncio.get_running_loop().call_soon(self.vanish)

    def vanish(self) -> None:
        """The network to the device ends, without a goodbye, if it has not ended yet."""
        if not self._vanished:
            self._vanished = True
            self.connection.ended(False)

    def unsent(self) -> int:
        return self.waiting_bytes

    def pause(self) -> None:
        self._reading.clear()

    def resume(self) -> None:
        self._reading.set()

    @property
    def frames(self) -> list[dict[str, Any]]:
        return [frame for message in self.messages for frame in message]

    def of_type(self, kind: str) -> list[dict[str, Any]]:
        return [frame for frame in self.frames if frame["t"] == kind]

    def begin(self, *frames: Mapping[str, Any]) -> None:
        """Send one message, and do not wait until it is read."""
        self.connection.receive("\n".join(map(json.dumps, frames)).encode())

    async def send(self, *frames: Mapping[str, Any]) -> None:
        self.begin(*frames)
        await self._reading.wait()


class PeopleWorker:
    """`WorkerTransport` with a worker at its other end that knows whom users have blocked, and have
    as contacts ((who, whom)), who is there, and nothing else. `asked`: all that it was asked about
    the former; while it is `away`, nobody answers."""

    def __init__(self) -> None:
        self.blocked: set[tuple[str, str]] = set()
        self.contacts: set[tuple[str, str]] = set()
        self.there: set[str] = set()
        self.asked: list[tuple[str, str]] = []
        self.away = False
        self.meanwhile: Callable[[], None] = lambda: None
        """Runs between an answer and its arrival."""

    async def request(
        self,
        method: str,
        url: str,
        body: bytes | None = None,
        params: Mapping[str, str] | None = None,
    ) -> tuple[int, bytes]:
        if not self.away and url.endswith("/presence/users/"):
            return 200, self._presence(body or b"")
        if self.away or not url.endswith("/people/stances/"):
            raise WorkersUnavailable("there is no such worker")
        answers: list[StancesAnswer] = []
        for question in msgspec.json.decode(body or b"", type=list[StancesQuestion]):
            pairs = question.pairs.items()
            self.asked += [pair for _, some in pairs for pair in some]
            answers.append({n: [self._stance(one) for one in some] for n, some in pairs})
        self.meanwhile()
        await asyncio.sleep(0)
        return 200, msgspec.json.encode(answers)

    def _stance(self, pair: tuple[str, str]) -> Stance:
        blocked = pair in self.blocked
        return Stance(blocked, pair in self.contacts, blocked, blocked)

    def _presence(self, body: bytes) -> bytes:
        questions = msgspec.json.decode(body, type=list[PresenceQuestion])
        assert all(question.whole for question in questions)
        answers: list[PresenceAnswer] = [
            {
                n: [PresenceState(1, user, (), 1) for user in users if user in self.there]
                for n, users in question.users.items()
            }
            for question in questions
        ]
        return msgspec.json.encode(answers)

    async def close(self) -> None: ...


class World:
    """A Kafka and a Redis, and the nodes on them. Make it in a virtual loop. With `chance` an
    answer of Redis takes its time."""

    def __init__(self, chance: random.Random | None = None) -> None:
        clock = asyncio.get_running_loop().time
        self.broker = MemoryBroker(_TOPICS, lambda: int(clock() * 1000))
        self.server = MemoryRedisServer(clock, chance)
        self._turn = 0
        self._turning = False
        self.nodes = 0
        self.people = PeopleWorker()

    def turn(self) -> int:
        """The number of the loop's turn, as far as somebody asks."""
        if not self._turning:
            self._turning = True
            asyncio.get_running_loop().call_soon(self._next_turn)
        return self._turn

    def _next_turn(self) -> None:
        self._turn += 1
        self._turning = False

    def deliver(self, slot: int, *events: Delivered) -> None:
        """One record for the slot."""
        self.broker.append(DELIVERIES, slot, *encode_deliveries(list(events)))

    async def claim_people(self) -> None:
        """The worker says that it has its partitions, as it does each second."""
        for stage in ("people", "presence"):
            await MemoryOwners(MemoryRedis(self.server), stage).take(0, "people:1")

    def node(self, routes: Routes | None = None, **settings: Any) -> "MemoryNode":
        return MemoryNode(self, routes, settings)


class MemoryNode:
    """A node, and its ways to the world. `routes` instead of those of its Redis."""

    def __init__(self, world: World, routes: Routes | None, settings: Mapping[str, Any]) -> None:
        clock = asyncio.get_running_loop().time
        world.nodes += 1
        self._world = world
        self.redis = MemoryRedis(world.server)
        self.kafka = MemoryKafka(world.broker)

        def now() -> int:
            return int(clock() * 1000)

        self.now = now
        redis = self.redis
        ports = NodePorts(
            self.kafka,
            routes or MemoryRoutes(redis),
            MemoryNodes(redis),
            MemoryWatchers(redis),
            MemoryQuotas(redis),
            {stage: MemoryOwners(redis, stage) for stage in STAGES},
            MemoryRecentWindows(redis, "log"),
            None,
            world.people,
            self.now,
            random.Random(world.nodes),
            Dependencies(clock),
            JwtVerifier([Secrets(SECRET)], TokenRules()),
        )
        chosen = {"partitions": 1, "slots": SLOTS, "drain_seconds": 1.0, **settings}
        self.node = Node(GatewaySettings("", "", SECRET, **chosen), ports, "log")

    @property
    def slot(self) -> int:
        """The one that it has."""
        slot = self.node._lease.slot
        assert slot is not None
        return slot

    async def start(self) -> None:
        """Returns when devices may come."""
        await self._world.claim_people()
        self.node.start()
        async with asyncio.timeout(10):
            while not self.node.ready:
                await asyncio.sleep(0.01)

    def connect(self) -> Device:
        """A device that has not said anything."""
        device = Device(self._world)
        device.connection = self.node.accept(device, 0)
        return device

    async def come(self, user: str, name: str = "phone") -> Device:
        """A device that has said hello."""
        device = self.connect()
        token = issue(user_id(user), SECRET, self.now() / 1000)
        await device.send({"t": "hello", "id": 1, "version": 1, "token": token, "device": name})
        return device

    async def welcomed(self, user: str, name: str = "phone") -> Device:
        device = await self.come(user, name)
        await asyncio.sleep(0.01)
        assert [frame["t"] for frame in device.frames] == ["welcome"], device.frames
        device.messages.clear()
        return device


async def started() -> tuple[World, MemoryNode]:
    """A world with one node, to which devices may come."""
    world = World()
    node = world.node()
    await node.start()
    return world, node
