"""What is said of the members of conversations."""

import asyncio

from agents.sequencer.stage import look_at_logs
from connectors.kafka.memory import MemoryKafka
from schemas.events import (
    AllSaid,
    DeliveriesMissed,
    Membership,
    MessageDelivered,
)
from schemas.ids import partition_of
from schemas.topics import MEMBERSHIPS, SUBMITTED
from tests.harness.fake_gateway import eventually
from tests.harness.sequencing import SLOT, Make, logged, pushed, said, send
from tests.harness.stage_run import delivered


async def test_members_are_said_before_the_first_look_for_their_routes(
    kafka: MemoryKafka, make: Make
) -> None:
    async with make() as run:
        await run.running()
        lost = partition_of("alice", 2)
        kafka.broker.lose_leader(MEMBERSHIPS, lost)
        send(kafka, 1, 2)
        await eventually(lambda: logged(kafka) == [1, 2])
        await asyncio.sleep(0.1)
        assert pushed(kafka) == []
        assert run.stage.committable(0) == 0
        kafka.broker.find_leader(MEMBERSHIPS, lost)
        await run.done(2)
        assert pushed(kafka) == [1, 2]
        assert {Membership("alice", 0), Membership("bob", 0)} <= set(said(kafka))


async def test_members_that_cannot_be_said_soon_hold_up_nobody(
    kafka: MemoryKafka, make: Make
) -> None:
    def told() -> list[MessageDelivered]:
        events = delivered(kafka, SLOT)
        return [event for event in events if isinstance(event, MessageDelivered)]

    async with make() as run:
        await run.running()
        lost = partition_of("alice", 2)
        kafka.broker.lose_leader(MEMBERSHIPS, lost)
        send(kafka, 1, 2)
        await eventually(lambda: pushed(kafka) == [1, 2], 60)
        assert run.stage.committable(0) == 0
    async with make() as run:  # the next owner
        await run.running()
        await eventually(lambda: [event.seq for event in told()] == [1, 2, 1, 2], 60)
        kafka.broker.find_leader(MEMBERSHIPS, lost)
        await eventually(lambda: run.stage.committable(0) == 2, 60)
        assert {Membership("alice", 0), Membership("bob", 0)} <= set(said(kafka))
        assert DeliveriesMissed() in delivered(kafka, SLOT), "the devices ask"


async def test_a_partition_says_once_to_each_topic_who_all_its_members_are(
    kafka: MemoryKafka, make: Make
) -> None:
    async with make() as run:
        await run.running()
        send(kafka, 1, 2)
        await run.done(2)
    for _ in range(2):
        kafka.broker.recreate(MEMBERSHIPS)
        topic = kafka.broker.topic_ids()[MEMBERSHIPS]
        everybody = [Membership("alice", 0), Membership("bob", 0), *[AllSaid(0, topic)] * 2]
        for _ in range(2):  # its disk remembers it
            async with make() as run:
                await run.running()
                for _ in range(2):
                    await look_at_logs(run.stage)
                    await eventually(lambda: len(said(kafka)) >= 4)
                    await asyncio.sleep(0.05)
            assert sorted(said(kafka), key=repr) == sorted(everybody, key=repr)


async def test_a_partition_that_has_folded_nothing_takes_any_input(
    kafka: MemoryKafka, make: Make
) -> None:
    async with make() as run:
        await run.running()
        await look_at_logs(run.stage)
        await eventually(lambda: len(said(kafka)) >= 2)
        await asyncio.sleep(0.05)
    kafka.broker.recreate(SUBMITTED)
    async with make() as run:
        await run.running()
        send(kafka, 1)
        await run.done(1)
        assert logged(kafka) == [1]
