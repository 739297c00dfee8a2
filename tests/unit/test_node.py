"""A whole node on ports in memory, in virtual time: how devices come, what is pushed to them, and
how it ends."""

import asyncio
from collections.abc import Sequence

from connectors.redis.memory import MemoryRoutes
from connectors.redis.memory_server import MemoryRedis
from connectors.redis.routes import Route, Written
from gateway.edge.connection import HELLO_SECONDS, WELCOME_SECONDS
from gateway.turn_writer import MAX_UNREAD_BYTES
from schemas.codes import Close, Code
from schemas.events import (
    AnswerDelivered,
    Delivered,
)
from tests.harness.memory_node import SEND, World, message, started
from tests.harness.virtual import virtual_time


@virtual_time
async def test_a_device_is_welcomed_once_it_has_its_route_and_is_pushed_what_comes() -> None:
    world = World()
    node = world.node()
    assert node.node.refusal() is not None, "it has no slot yet"
    await node.start()
    assert node.node.refusal() is None
    bob = await node.welcomed("bob")
    assert set(world.server.tables["routes"]["bob"]) == {"phone"}
    for seq in (1, 2, 2, 1):
        world.deliver(node.slot, message("bob", seq))
    await asyncio.sleep(1)
    assert [frame["seq"] for frame in bob.frames] == [1, 2]
    bob.connection.ended(True)
    await asyncio.sleep(1)
    assert world.server.tables["routes"]["bob"] == {}


@virtual_time
async def test_what_is_pushed_before_the_welcome_comes_after_it() -> None:
    class SlowRoutes(MemoryRoutes):
        async def write_routes(self, routes: Sequence[Route]) -> Written:
            written = await super().write_routes(routes)
            await asyncio.sleep(1)
            return written

    world = World()
    node = world.node(SlowRoutes(MemoryRedis(world.server)))
    await node.start()
    bob = await node.come("bob")
    world.deliver(node.slot, message("bob", 1))
    await asyncio.sleep(0.5)
    assert bob.frames == []
    await asyncio.sleep(1)
    assert [[frame["t"] for frame in some] for some in bob.messages] == [["welcome", "message"]]


@virtual_time
async def test_a_hello_is_answered_though_a_route_could_not_be_written() -> None:
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

    world = BrokenWorld()
    node = world.node(BrokenRoutes(MemoryRedis(world.server)))
    await node.start()
    bob = await node.come("bob")
    await asyncio.sleep(0.1)
    assert bob.closed == [Close.SLOT_LOST]
    bob = await node.come("bob")
    await asyncio.sleep(2)
    assert [frame["t"] for frame in bob.frames] == ["welcome"]


@virtual_time
async def test_nobody_waits_for_ever_for_a_welcome() -> None:
    class HangingRoutes(MemoryRoutes):
        async def write_routes(self, routes: Sequence[Route]) -> Written:
            await asyncio.sleep(1e9)
            return await super().write_routes(routes)

    world = World()
    node = world.node(HangingRoutes(MemoryRedis(world.server)))
    await node.start()
    silent, bob = node.connect(), await node.come("bob")
    assert node.node.parts.greeter.arriving == 2
    await asyncio.sleep(max(HELLO_SECONDS, WELCOME_SECONDS) + 0.1)
    assert (silent.closed, bob.closed) == ([Close.HELLO_TIMEOUT], [Close.SLOT_LOST])
    assert node.node.parts.greeter.arriving == 0


@virtual_time
async def test_a_device_that_does_not_read_is_closed() -> None:
    world, node = await started()
    bob = await node.welcomed("bob")
    bob.waiting_bytes = MAX_UNREAD_BYTES + 1
    world.deliver(node.slot, message("bob", 1))
    await asyncio.sleep(1)
    assert bob.closed == [Close.SLOW_READER]
    assert node.node.parts.writer.slow_readers == 1


@virtual_time
async def test_all_devices_of_a_user_that_do_not_read_share_a_bound() -> None:
    world, node = await started()
    eve = [await node.welcomed("eve", f"d{number}") for number in range(80)]
    bob = await node.welcomed("bob")
    for device in (*eve, bob):
        device.waiting_bytes = MAX_UNREAD_BYTES // 10 - 1
    for user in ("eve", "bob"):
        world.deliver(node.slot, message(user, 1))
    await asyncio.sleep(1)
    assert [one.closed for one in (*eve, bob)] == [[]] * 81
    for device in (*eve, bob):
        device.waiting_bytes = MAX_UNREAD_BYTES // 10 + 1
    for user in ("eve", "bob"):
        world.deliver(node.slot, message(user, 2))
    await asyncio.sleep(1)
    assert eve[0].closed == [Close.SLOW_READER]
    assert bob.closed == []


@virtual_time
async def test_a_connection_that_cannot_be_written_to_costs_the_others_nothing() -> None:
    world, node = await started()
    broken, bob = await node.welcomed("broken"), await node.welcomed("bob")

    def fail(frames: Sequence[bytes]) -> None:
        raise RuntimeError("unable to perform operation on <TCPTransport closed=True>")

    broken.write = fail  # type: ignore[method-assign]
    both = message("broken", 1)
    both.users.append("bob")
    world.deliver(node.slot, both)
    await asyncio.sleep(0.1)
    assert [frame["seq"] for frame in bob.frames] == [1]
    assert broken.aborted
    await bob.send({"t": "ping", "id": 5})
    await asyncio.sleep(0.1)
    assert bob.of_type("pong") == [{"t": "pong", "id": 5}]


@virtual_time
async def test_a_delivery_that_fails_by_a_fault_of_ours_costs_the_next_ones_nothing() -> None:
    world, node = await started()
    bob = await node.welcomed("bob")
    deliver, calls = node.node.parts.registry.deliver, list[object]()

    def fail_once(event: Delivered) -> None:
        calls.append(event)
        if len(calls) == 1:
            raise KeyError("a fault of ours")
        deliver(event)

    node.node.parts.registry.deliver = fail_once  # type: ignore[method-assign]
    for seq in (1, 2):
        world.deliver(node.slot, message("bob", seq))
    await asyncio.sleep(0.1)
    assert [frame["t"] for frame in bob.frames] == ["message", "resync"]


@virtual_time
async def test_a_question_that_fails_in_an_unexpected_way_is_answered() -> None:
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


@virtual_time
async def test_what_is_asked_while_no_worker_is_there_is_to_be_tried_later() -> None:
    node = World().node()
    await node.start()
    alice = await node.welcomed("alice")
    await alice.send(
        {"t": "sync", "id": 7, "cursors": {"alice:bob": 0}},
        {"t": "history", "id": 8, "conversation": "alice:bob", "after": 0},
    )
    await asyncio.sleep(60)
    answers = {error["id"]: (error["code"], error["retry"]) for error in alice.of_type("error")}
    assert answers == dict.fromkeys((7, 8), (Code.TRY_LATER.number, True))


# Ending


@virtual_time
async def test_a_drained_node_lets_nobody_in_and_sends_everybody_away_with_their_answers() -> None:
    world, node = await started()
    alice = await node.welcomed("alice")
    late = node.connect()
    await alice.send(SEND)
    draining = asyncio.create_task(node.node.drain())
    await asyncio.sleep(0.5)
    assert alice.closed == [], "it waits for its answer"
    answer = AnswerDelivered("alice", "phone", b'{"t":"sent"}')
    world.deliver(node.slot, answer)
    await draining
    assert [frame["t"] for frame in alice.frames] == ["sent"]
    assert alice.closed == [Close.DRAINING]
    assert node.node.refusal() is not None
    await late.send({"t": "ping", "id": 1})
    assert late.closed == [Close.BAD_PROTOCOL]
    await node.node.stop()
    assert world.server.tables["slots"] == {}


@virtual_time
async def test_a_node_that_stops_closes_what_is_left() -> None:
    world, node = await started()
    bob = await node.welcomed("bob")
    await node.node.stop()
    assert bob.closed == [Close.DRAINING]
    assert world.server.tables["slots"] == {}


@virtual_time
async def test_a_drain_does_not_wait_for_a_connection_that_ended_before_its_turn() -> None:
    _, node = await started()
    alice = await node.welcomed("alice")
    alice.vanish()
    async with asyncio.timeout(5):
        await alice.connection.leave()
