"""A whole node on ports in memory, in virtual time: what it does when what is around it fails."""

import asyncio
import logging
import random
from collections.abc import Sequence

import msgspec
import pytest

from connectors.redis.client import RedisUnavailable
from connectors.redis.memory import MemoryRoutes
from connectors.redis.memory_server import MemoryRedis
from connectors.redis.routes import LEASE_SECONDS, RENEW_SECONDS, Lease, Route, Written
from gateway.edge.connection import HELLO_SECONDS, MAX_UNREAD_BYTES, WELCOME_SECONDS
from schemas.codec import decode_deliveries, encode_deliveries, encode_event
from schemas.codes import Close, Code
from schemas.events import (
    SCHEMA_VERSION,
    AnswerDelivered,
    Delivered,
    MessageDelivered,
    SlotTaken,
)
from schemas.topics import DELIVERIES, SUBMITTED
from simulation.loop import Process, VirtualLoop
from tests.harness.memory_node import Device, MemoryNode, World, run

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
    frame = b'{"t":"message","seq":%d}' % seq
    return MessageDelivered("alice:bob", seq, "someone", "phone", [user], frame)


def slot_of(node: MemoryNode) -> int:
    slot = node.node._lease.slot
    assert slot is not None
    return slot


# Who comes


def test_a_device_is_welcomed_once_it_has_its_route_and_is_pushed_what_comes() -> None:
    async def scenario() -> None:
        world = World()
        node = world.node()
        assert node.node.refusal() is not None, "it has no slot yet"
        await node.start()
        assert node.node.refusal() is None
        bob = await node.welcomed("bob")
        assert set(world.server.tables["routes"]["bob"]) == {"phone"}
        for seq in (1, 2, 2, 1):
            world.broker.append(
                DELIVERIES, slot_of(node), *encode_deliveries([message("bob", seq)])
            )
        await asyncio.sleep(1)
        assert [frame["seq"] for frame in bob.frames] == [1, 2]
        bob.connection.ended(True)
        await asyncio.sleep(1)
        assert world.server.tables["routes"]["bob"] == {}

    run(scenario())


def test_what_is_pushed_before_the_welcome_comes_after_it() -> None:
    class SlowRoutes(MemoryRoutes):
        async def write_routes(self, routes: Sequence[Route]) -> Written:
            written = await super().write_routes(routes)
            await asyncio.sleep(1)
            return written

    async def scenario() -> None:
        world = World()
        node = world.node(SlowRoutes(MemoryRedis(world.server)))
        await node.start()
        bob = await node.come("bob")
        world.broker.append(DELIVERIES, slot_of(node), *encode_deliveries([message("bob", 1)]))
        await asyncio.sleep(0.5)
        assert bob.frames == []
        await asyncio.sleep(1)
        assert [[frame["t"] for frame in some] for some in bob.messages] == [["welcome", "message"]]

    run(scenario())


def test_a_hello_is_answered_though_a_route_could_not_be_written() -> None:
    """An error that no port may raise, as uvloop's after a reset: the device comes again, and its
    route is written."""

    class BrokenRoutes(MemoryRoutes):
        async def write_routes(self, routes: Sequence[Route]) -> Written:
            if not world.broken:
                return await super().write_routes(routes)
            world.broken = False
            raise RuntimeError("unable to perform operation on <TCPTransport closed=True>")

    class BrokenWorld(World):
        broken = True

    world: BrokenWorld

    async def scenario() -> None:
        nonlocal world
        world = BrokenWorld()
        node = world.node(BrokenRoutes(MemoryRedis(world.server)))
        await node.start()
        bob = await node.come("bob")
        await asyncio.sleep(0.1)
        assert bob.closed == [Close.SLOT_LOST]
        bob = await node.come("bob")
        await asyncio.sleep(2)
        assert [frame["t"] for frame in bob.frames] == ["welcome"]

    run(scenario())


def test_nobody_waits_for_ever_for_a_welcome() -> None:
    class HangingRoutes(MemoryRoutes):
        async def write_routes(self, routes: Sequence[Route]) -> Written:
            await asyncio.sleep(1e9)
            return await super().write_routes(routes)

    async def scenario() -> None:
        world = World()
        node = world.node(HangingRoutes(MemoryRedis(world.server)))
        await node.start()
        silent, bob = node.connect(), await node.come("bob")
        assert node.node.parts.greeter.arriving == 2
        await asyncio.sleep(max(HELLO_SECONDS, WELCOME_SECONDS) + 0.1)
        assert (silent.closed, bob.closed) == ([Close.HELLO_TIMEOUT], [Close.SLOT_LOST])
        assert node.node.parts.greeter.arriving == 0

    run(scenario())


def test_a_device_that_does_not_read_is_closed() -> None:
    async def scenario() -> None:
        world = World()
        node = world.node()
        await node.start()
        bob = await node.welcomed("bob")
        bob.waiting_bytes = MAX_UNREAD_BYTES + 1
        world.broker.append(DELIVERIES, slot_of(node), *encode_deliveries([message("bob", 1)]))
        await asyncio.sleep(1)
        assert bob.closed == [Close.SLOW_READER]
        assert node.node.parts.writer.slow_readers == 1

    run(scenario())


def test_a_connection_that_cannot_be_written_to_costs_the_others_nothing() -> None:
    async def scenario() -> None:
        world = World()
        node = world.node()
        await node.start()
        broken, bob = await node.welcomed("broken"), await node.welcomed("bob")

        def fail(frames: Sequence[bytes]) -> None:
            raise RuntimeError("unable to perform operation on <TCPTransport closed=True>")

        broken.write = fail  # type: ignore[method-assign]
        both = message("broken", 1)
        both.users.append("bob")
        world.broker.append(DELIVERIES, slot_of(node), *encode_deliveries([both]))
        await asyncio.sleep(0.1)
        assert [frame["seq"] for frame in bob.frames] == [1]
        assert broken.aborted
        await bob.send({"t": "ping", "id": 5})
        await asyncio.sleep(0.1)
        assert bob.of_type("pong") == [{"t": "pong", "id": 5}]

    run(scenario())


def test_a_delivery_that_fails_by_a_fault_of_ours_costs_the_next_ones_nothing() -> None:
    async def scenario() -> None:
        world = World()
        node = world.node()
        await node.start()
        bob = await node.welcomed("bob")
        deliver, calls = node.node.parts.registry.deliver, list[object]()

        def fail_once(event: Delivered) -> None:
            calls.append(event)
            if len(calls) == 1:
                raise KeyError("a fault of ours")
            deliver(event)

        node.node.parts.registry.deliver = fail_once  # type: ignore[method-assign]
        for seq in (1, 2):
            record = encode_deliveries([message("bob", seq)])
            world.broker.append(DELIVERIES, slot_of(node), *record)
        await asyncio.sleep(0.1)
        assert [frame["t"] for frame in bob.frames] == ["message", "resync"]

    run(scenario())


def test_a_question_that_fails_in_an_unexpected_way_is_answered() -> None:
    async def scenario() -> None:
        node = World().node()
        await node.start()
        bob = await node.welcomed("bob")

        async def fail(*_: object) -> bytes:
            raise KeyError("a fault of ours")

        bob.connection._services.questions.answer = fail  # type: ignore
        await bob.send({"t": "get_marks", "id": 7, "conversations": ["alice:bob"]})
        await asyncio.sleep(0.1)
        (error,) = bob.of_type("error")
        assert (error["id"], error["code"]) == (7, Code.TRY_LATER.number)

    run(scenario())


# Redis


def test_redis_is_away_for_a_minute_and_no_session_closes() -> None:
    """What was sent meanwhile arrives when it is back: deliveries wait for their lookup."""

    async def scenario() -> None:
        world = World()
        nodes = [world.node(), world.node()]
        devices = []
        for node, user in zip(nodes, ("alice", "bob"), strict=True):
            await node.start()
            devices.append(await node.welcomed(user))
        slots = [slot_of(node) for node in nodes]
        world.server.up = False
        await asyncio.sleep(LEASE_SECONDS + 1)
        for node in nodes:
            assert not node.node.ready
            assert node.node.refusal() is not None
            (problem,) = node.node.problems()
            assert problem.startswith("redis is unreachable for")
        await asyncio.sleep(60)
        world.server.up = True
        await asyncio.sleep(3)
        assert [node.node.ready for node in nodes] == [True, True]
        routes = await MemoryRoutes(MemoryRedis(world.server)).lookup(["alice", "bob"])
        assert routes == {"alice": [("phone", slots[0])], "bob": [("phone", slots[1])]}
        for device, user, slot in zip(devices, ("alice", "bob"), slots, strict=True):
            world.broker.append(DELIVERIES, slot, *encode_deliveries([message(user, 1)]))
            await asyncio.sleep(0.1)
            assert [frame["t"] for frame in device.frames] == ["resync", "message"]
            assert device.closed == []

    run(scenario())


def test_a_node_that_is_cut_off_from_redis_learns_from_kafka_that_its_slot_is_taken() -> None:
    """Nothing comes to it any more. Fault 7."""

    async def scenario() -> None:
        world = World()
        cut, beside = world.node(), world.node()
        await cut.start()
        await beside.start()
        slot = slot_of(cut)
        bob = await cut.welcomed("bob")
        cut.redis.connected = False
        await asyncio.sleep(2 * LEASE_SECONDS)
        assert bob.closed == [], "the slot is still its own"
        world.broker.append(DELIVERIES, slot, *encode_deliveries([message("bob", 1)]))
        await asyncio.sleep(0.1)
        assert [frame["seq"] for frame in bob.frames] == [1]
        other = world.node()
        await other.start()
        assert slot_of(other) == slot
        await asyncio.sleep(1)
        assert bob.closed == [Close.SLOT_LOST]
        assert not cut.node.ready
        bob = await other.welcomed("bob")
        world.broker.append(DELIVERIES, slot, *encode_deliveries([message("bob", 2)]))
        await asyncio.sleep(0.1)
        assert [frame["seq"] for frame in bob.frames] == [2]
        await other.node.stop()
        cut.redis.connected = True
        await asyncio.sleep(2)
        assert cut.node.ready, "it takes the slot that is free"
        await cut.welcomed("bob")

    run(scenario())


def test_a_node_that_reaches_neither_redis_nor_kafka_closes_its_sessions() -> None:
    """Another node may take its slot when the lease has run out, and could not tell."""

    async def scenario() -> None:
        world = World()
        cut = world.node()
        await cut.start()
        bob = await cut.welcomed("bob")
        cut.redis.connected = False
        cut.kafka.cut()
        began = asyncio.get_running_loop().time()
        async with asyncio.timeout(60):
            while not bob.closed:
                await asyncio.sleep(0.01)
        assert bob.closed == [Close.SLOT_LOST]
        took = asyncio.get_running_loop().time() - began
        assert LEASE_SECONDS - 2 * RENEW_SECONDS < took <= LEASE_SECONDS + 3 * RENEW_SECONDS
        assert not cut.node.ready
        assert cut.node.refusal() is not None
        assert cut.node.problems()
        cut.redis.connected = True
        await asyncio.sleep(5)
        assert not cut.node.ready, "it cannot read a slot"
        cut.kafka.mend()
        await asyncio.sleep(5)
        assert cut.node.ready
        await cut.welcomed("bob")

    run(scenario())


def test_two_nodes_believe_that_they_have_a_slot_and_both_close_their_sessions() -> None:
    """One was paused for longer than its lease; the other took the slot, was cut off from Redis,
    and its lease ran out, too. The first takes the lease again when it wakes."""
    loop = VirtualLoop()
    processes = Process("the first", loop), Process("the second", loop)

    async def begin(world: World, user: str) -> tuple[MemoryNode, Device]:
        node = world.node()
        await node.start()
        return node, await node.welcomed(user)

    world = loop.do(World, random.Random(1))
    first, alice = loop.run_until_complete(processes[0].start(begin(world, "alice")))
    slot = slot_of(first)
    processes[0].pause()
    loop.advance(LEASE_SECONDS + 1)
    second, bob = loop.run_until_complete(processes[1].start(begin(world, "bob")))
    assert slot_of(second) == slot
    second.redis.connected = False
    loop.advance(LEASE_SECONDS + 2)
    assert (alice.closed, bob.closed) == ([], [])
    loop.do(processes[0].wake)
    loop.advance(1)
    assert (alice.closed, bob.closed) == ([Close.SLOT_LOST], [Close.SLOT_LOST])
    assert first.node.ready
    assert not second.node.ready
    loop.close()


def test_a_lease_that_vanished_is_told_until_kafka_has_it() -> None:
    async def scenario() -> None:
        world = World()
        node = world.node()
        await node.start()
        slot = slot_of(node)
        bob = await node.welcomed("bob")
        end = world.broker.log(DELIVERIES, slot).end
        world.broker.lose_leader(DELIVERIES, slot)
        world.server.wipe()
        await asyncio.sleep(10)
        assert [frame["t"] for frame in bob.frames] == ["resync"], "that does not wait"
        assert node.node.ready
        world.broker.find_leader(DELIVERIES, slot)
        await asyncio.sleep(5)
        records = world.broker.read_all(DELIVERIES, slot)[end:]
        assert decode_deliveries(records[-1].value).events == [SlotTaken(node.node.id)]
        await asyncio.sleep(5)
        assert len(world.broker.read_all(DELIVERIES, slot)) == end + len(records)
        assert (node.node.ready, bob.closed) == (True, []), "its own changes nothing"

    run(scenario())


def test_a_node_that_lost_its_slot_while_it_took_it_lets_nobody_in() -> None:
    """Redis is emptied between the lease and the SlotTaken, another node is quicker, and Redis does
    not answer the node now."""

    class Emptied(MemoryRoutes):
        renewals_that_fail = 0

        async def acquire_slot(self, node: str, slots: int) -> int | None:
            slot = await super().acquire_slot(node, slots)
            if slot == 0:
                until = asyncio.get_running_loop().time() + LEASE_SECONDS
                self._table("slots")[slot] = "another", until
                self.renewals_that_fail = 1
            return slot

        async def renew_slot(self, node: str, slot: int) -> Lease:
            if self.renewals_that_fail:
                self.renewals_that_fail = 0
                raise RedisUnavailable("Redis does not answer")
            return await super().renew_slot(node, slot)

    async def scenario() -> None:
        world = World()
        node = world.node(Emptied(MemoryRedis(world.server)))
        await node.start()
        assert slot_of(node) == 1, "the other has the first"

    run(scenario())


def test_a_short_outage_of_redis_closes_nobody() -> None:
    async def scenario() -> None:
        node = World().node()
        await node.start()
        bob = await node.welcomed("bob")
        node.redis.connected = False
        await asyncio.sleep(LEASE_SECONDS - 2 * RENEW_SECONDS)
        node.redis.connected = True
        await asyncio.sleep(10)
        assert (bob.closed, bob.frames) == ([], [])
        assert node.node.ready

    run(scenario())


@pytest.mark.parametrize("taken", [False, True])
def test_a_node_that_was_paused_keeps_its_sessions_unless_its_slot_is_taken(taken: bool) -> None:
    """For longer than its lease."""
    loop = VirtualLoop()
    process = Process("the node", loop)

    async def begin() -> tuple[World, MemoryNode, Device]:
        world = World(random.Random(1))
        node = world.node()
        await node.start()
        return world, node, await node.welcomed("bob")

    world, node, bob = loop.run_until_complete(process.start(begin()))
    process.pause()
    loop.advance(LEASE_SECONDS + 5)
    if taken:
        world.server.tables["slots"][slot_of(node)] = "another", loop.time() + LEASE_SECONDS
    loop.do(process.wake)
    loop.advance(10)
    assert bob.closed == ([Close.SLOT_LOST] if taken else [])
    assert [frame["t"] for frame in bob.frames] == ([] if taken else ["resync"])
    assert node.node.ready
    loop.close()


def test_when_redis_has_forgotten_everything_routes_are_written_again_and_devices_ask() -> None:
    """R15, a few at a time."""

    async def scenario() -> None:
        world = World()
        node = world.node()
        await node.start()
        devices = [await node.welcomed(f"user{number}") for number in range(450)]
        await asyncio.sleep(2)
        world.server.wipe()
        await asyncio.sleep(2)
        assert len(world.server.tables["routes"]) == len(devices)
        turns: dict[int, int] = {}
        for device in devices:
            assert [frame["t"] for frame in device.frames] == ["resync"]
            turns[device.turns[-1]] = turns.get(device.turns[-1], 0) + 1
        assert max(turns.values()) <= 200, "more hold up the loop"

    run(scenario())


def test_many_sessions_are_closed_a_few_at_a_time() -> None:
    async def scenario() -> None:
        world = World()
        node = world.node()
        await node.start()
        devices = [await node.welcomed(f"user{number}") for number in range(450)]
        taken = encode_deliveries([SlotTaken("another")])
        world.broker.append(DELIVERIES, slot_of(node), *taken)
        await asyncio.sleep(1)
        turns: dict[int, int] = {}
        for device in devices:
            assert device.closed == [Close.SLOT_LOST]
            turns[device.turns[-1]] = turns.get(device.turns[-1], 0) + 1
        assert max(turns.values()) <= 100, "more hold up the loop"

    run(scenario())


# Kafka


def test_a_node_whose_place_in_deliveries_is_gone_gives_its_slot_up_and_takes_one_again() -> None:
    """R14."""

    async def scenario() -> None:
        world = World()
        node = world.node()
        await node.start()
        bob = await node.welcomed("bob")
        slot = slot_of(node)
        for seq in range(5):
            world.broker.append(DELIVERIES, slot, *encode_deliveries([message("eve", seq)]))
        await asyncio.sleep(0.1)
        world.broker.cut_tail(DELIVERIES, slot, 3)
        await asyncio.sleep(0.1)
        assert bob.closed == [Close.SLOT_LOST]
        await asyncio.sleep(2)
        assert node.node.ready
        bob = await node.welcomed("bob")
        world.broker.append(DELIVERIES, slot_of(node), *encode_deliveries([message("bob", 9)]))
        await asyncio.sleep(0.1)
        assert [frame["seq"] for frame in bob.frames] == [9]

    run(scenario())


class _Newer(msgspec.Struct, array_like=True, tag=99):
    """An event of a newer version."""

    text: str


class _NewerRecord(msgspec.Struct, array_like=True):
    version: int
    events: list[_Newer | MessageDelivered | AnswerDelivered]


@pytest.mark.parametrize(
    ("version", "read"), [(SCHEMA_VERSION, True), (SCHEMA_VERSION + 1, True), (None, False)]
)
def test_what_can_be_read_of_a_delivery_is_delivered_and_all_devices_ask_for_the_rest(
    version: int | None, read: bool
) -> None:
    """Fault 10."""
    events: list[_Newer | MessageDelivered | AnswerDelivered] = [
        message("bob", 1),
        _Newer("?"),
        AnswerDelivered("bob", "phone", b'{"t":"sent"}'),
    ]
    value = b"junk" if version is None else encode_event(_NewerRecord(version, events))

    async def scenario() -> None:
        world = World()
        node = world.node()
        await node.start()
        bob, eve = await node.welcomed("bob"), await node.welcomed("eve")
        world.broker.append(DELIVERIES, slot_of(node), value)
        world.broker.append(DELIVERIES, slot_of(node), *encode_deliveries([message("bob", 2)]))
        await asyncio.sleep(1)
        came = ["message", "sent"] if read else []
        assert [frame["t"] for frame in bob.frames] == [*came, "message", "resync"]
        assert [frame["t"] for frame in eve.frames] == ["resync"]
        for _ in range(100):
            world.broker.append(DELIVERIES, slot_of(node), value)
        await asyncio.sleep(1)
        assert len(eve.frames) == 1, "not all of them again so soon"
        await asyncio.sleep(20)
        assert len(eve.frames) == 2

    run(scenario())


@pytest.mark.parametrize("sends", [False, True])
def test_health_says_that_kafka_is_away_and_that_it_is_back(
    caplog: pytest.LogCaptureFixture, sends: bool
) -> None:
    """Fault 25; also if there is nothing to send."""
    caplog.set_level(logging.WARNING)

    async def scenario() -> None:
        world = World()
        node = world.node()
        await node.start()
        alice = await node.welcomed("alice")
        await asyncio.sleep(1)
        assert node.node.problems() == []
        world.broker.stop()
        if sends:
            await alice.send(SEND)
        await asyncio.sleep(5)
        (problem,) = node.node.problems()
        assert problem.startswith("kafka is unreachable for")
        assert node.node.ready, "devices may come; what they send waits"
        await asyncio.sleep(5)
        world.broker.go_on()
        await asyncio.sleep(20)
        assert node.node.problems() == []
        assert len(world.broker.read_all(SUBMITTED, 0)) == sends

    run(scenario())
    lines = [record.getMessage() for record in caplog.records]
    assert [line.split(" after ")[0].split(":")[0] for line in lines if "kafka is" in line] == [
        "kafka is unreachable",
        "kafka is reachable again",
    ]


def test_health_says_that_one_partition_acknowledges_nothing() -> None:
    """Kafka answers, but a partition has no leader."""

    async def scenario() -> None:
        world = World()
        node = world.node()
        await node.start()
        alice = await node.welcomed("alice")
        world.broker.lose_leader(SUBMITTED, 0)
        await alice.send(SEND)
        await asyncio.sleep(5)
        (problem,) = node.node.problems()
        assert "1 records are not acknowledged" in problem
        world.broker.find_leader(SUBMITTED, 0)
        await asyncio.sleep(1)
        assert node.node.problems() == []

    run(scenario())


def test_health_says_that_redis_is_away_and_that_it_is_back() -> None:
    async def scenario() -> None:
        node = World().node()
        await node.start()
        await asyncio.sleep(3)
        assert node.node.problems() == []
        node.redis.connected = False
        await asyncio.sleep(4)
        (problem,) = node.node.problems()
        assert problem.startswith("redis is unreachable for")
        node.redis.connected = True
        await asyncio.sleep(3)
        assert node.node.problems() == []

    run(scenario())


# Ending


def test_a_drained_node_lets_nobody_in_and_sends_everybody_away_with_their_answers() -> None:
    async def scenario() -> None:
        world = World()
        node = world.node()
        await node.start()
        alice = await node.welcomed("alice")
        late = node.connect()
        await alice.send(SEND)
        draining = asyncio.create_task(node.node.drain())
        await asyncio.sleep(0.5)
        assert alice.closed == [], "it waits for its answer"
        answer = AnswerDelivered("alice", "phone", b'{"t":"sent"}')
        world.broker.append(DELIVERIES, slot_of(node), *encode_deliveries([answer]))
        await draining
        assert [frame["t"] for frame in alice.frames] == ["sent"]
        assert alice.closed == [Close.DRAINING]
        assert node.node.refusal() is not None
        await late.send({"t": "ping", "id": 1})
        assert late.closed == [Close.BAD_PROTOCOL]
        await node.node.stop()
        assert world.server.tables["slots"] == {}

    run(scenario())


def test_a_node_that_stops_closes_what_is_left() -> None:
    async def scenario() -> None:
        world = World()
        node = world.node()
        await node.start()
        bob = await node.welcomed("bob")
        await node.node.stop()
        assert bob.closed == [Close.DRAINING]
        assert world.server.tables["slots"] == {}

    run(scenario())


def test_a_drain_does_not_wait_for_a_connection_that_ended_before_its_turn() -> None:
    async def scenario() -> None:
        world = World()
        node = world.node()
        await node.start()
        alice = await node.welcomed("alice")
        alice.vanish()
        async with asyncio.timeout(5):
            await alice.connection.leave()

    run(scenario())
