"""A whole node on ports in memory, in virtual time: what it does when Kafka fails, and what its
health says."""

import asyncio
import logging

import msgspec
import pytest

from schemas.codec import encode_event
from schemas.codes import Close, Code
from schemas.events import (
    SCHEMA_VERSION,
    AnswerDelivered,
    MessageDelivered,
)
from schemas.topics import DELIVERIES, SUBMITTED
from tests.harness.memory_node import SEND, World, message, started
from tests.harness.virtual import virtual_time


@virtual_time
async def test_a_node_whose_place_in_deliveries_is_gone_gives_its_slot_up_and_takes_one_again() -> (
    None
):
    """R14."""
    world, node = await started()
    bob = await node.welcomed("bob")
    slot = node.slot
    for seq in range(5):
        world.deliver(slot, message("eve", seq))
    await asyncio.sleep(0.1)
    world.broker.cut_tail(DELIVERIES, slot, 3)
    await asyncio.sleep(0.1)
    assert bob.closed == [Close.SLOT_LOST]
    await asyncio.sleep(2)
    assert node.node.ready
    bob = await node.welcomed("bob")
    world.deliver(node.slot, message("bob", 9))
    await asyncio.sleep(0.1)
    assert [frame["seq"] for frame in bob.frames] == [9]


class _Newer(msgspec.Struct, array_like=True, tag=99):
    """An event of a newer version."""

    text: str


class _NewerRecord(msgspec.Struct, array_like=True):
    version: int
    events: list[_Newer | MessageDelivered | AnswerDelivered]


@pytest.mark.parametrize(
    ("version", "read"), [(SCHEMA_VERSION, True), (SCHEMA_VERSION + 1, True), (None, False)]
)
@virtual_time
async def test_what_can_be_read_of_a_delivery_is_delivered_and_all_devices_ask_for_the_rest(
    version: int | None, read: bool
) -> None:
    """Fault 10."""
    events: list[_Newer | MessageDelivered | AnswerDelivered] = [
        message("bob", 1),
        _Newer("?"),
        AnswerDelivered("bob", "phone", b'{"t":"sent"}'),
    ]
    value = b"junk" if version is None else encode_event(_NewerRecord(version, events))
    world, node = await started()
    bob, eve = await node.welcomed("bob"), await node.welcomed("eve")
    world.broker.append(DELIVERIES, node.slot, value)
    world.deliver(node.slot, message("bob", 2))
    await asyncio.sleep(1)
    came = ["message", "sent"] if read else []
    assert [frame["t"] for frame in bob.frames] == [*came, "message", "resync"]
    assert [frame["t"] for frame in eve.frames] == ["resync"]
    for _ in range(100):
        world.broker.append(DELIVERIES, node.slot, value)
    await asyncio.sleep(1)
    assert len(eve.frames) == 1, "not all of them again so soon"
    await asyncio.sleep(20)
    assert len(eve.frames) == 2


@pytest.mark.parametrize("sends", [False, True])
@virtual_time
async def test_health_says_that_kafka_is_away_and_that_it_is_back(
    caplog: pytest.LogCaptureFixture, sends: bool
) -> None:
    """Fault 25; also if there is nothing to send."""
    caplog.set_level(logging.WARNING)
    world, node = await started()
    alice = await node.welcomed("alice")
    await asyncio.sleep(1)
    assert node.node.problems() == []
    world.broker.stop()
    if sends:
        await alice.send(SEND)
    await asyncio.sleep(5)
    (problem,) = node.node.problems()
    assert problem.startswith("kafka is unreachable for")
    assert node.node.ready, "devices may come"
    told = [frame["code"] for frame in alice.frames if frame["t"] == "error"]
    assert told == [Code.TRY_LATER.number] * sends
    await asyncio.sleep(5)
    world.broker.go_on()
    await asyncio.sleep(20)
    assert node.node.problems() == []
    assert world.broker.read_all(SUBMITTED, 0) == [], "the device sends again, if it wants to"
    lines = [record.getMessage() for record in caplog.records]
    assert [line.split(" after ")[0].split(":")[0] for line in lines if "kafka is" in line] == [
        "kafka is unreachable",
        "kafka is reachable again",
    ]


@virtual_time
async def test_health_says_that_one_partition_acknowledges_nothing() -> None:
    """Kafka answers, but a partition has no leader."""
    world, node = await started()
    alice = await node.welcomed("alice")
    world.broker.lose_leader(SUBMITTED, 0)
    await alice.send(SEND)
    await asyncio.sleep(3.7)
    (problem,) = node.node.problems()
    assert "1 records are not acknowledged" in problem
    world.broker.find_leader(SUBMITTED, 0)
    await asyncio.sleep(1)
    assert node.node.problems() == []


@virtual_time
async def test_health_says_that_redis_is_away_and_that_it_is_back() -> None:
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
