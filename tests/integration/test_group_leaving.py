"""A group of Kafka is told that a member is dead."""

import asyncio

import pytest
from aiokafka import AIOKafkaConsumer

from connectors.kafka.group_leaving import leave
from schemas.topics import DELIVERIES
from tests.harness.stack import Stack

pytestmark = pytest.mark.real

_SESSION_MS = 60_000
"""Nobody waits for its end here."""
_GROUP = "test-group-leaving"


async def _member(stack: Stack, name: str) -> AIOKafkaConsumer:
    member = AIOKafkaConsumer(
        DELIVERIES,
        bootstrap_servers=stack.kafka,
        group_id=_GROUP,
        group_instance_id=name,
        session_timeout_ms=_SESSION_MS,
        heartbeat_interval_ms=200,
    )
    await member.start()
    return member


async def test_the_others_take_over_at_once_from_a_member_that_is_said_to_be_dead(
    stack: Stack,
) -> None:
    dead, living = await asyncio.gather(_member(stack, "dead"), _member(stack, "living"))
    try:
        async with asyncio.timeout(60):
            while not (dead.assignment() and living.assignment()):
                await asyncio.sleep(0.05)
        everything = dead.assignment() | living.assignment()
        await dead.stop()  # a member with a name does not leave
        await leave(stack.kafka, "nobody", [_GROUP, "no such group"])
        await asyncio.sleep(1.0)
        assert living.assignment() != everything
        await leave(stack.kafka, "dead", [_GROUP, "no such group"])
        async with asyncio.timeout(60):
            while living.assignment() != everything:
                await asyncio.sleep(0.05)
    finally:
        await dead.stop()
        await living.stop()
