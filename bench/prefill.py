"""Fills `messages.submitted` with records of one message each, the most expensive form for a
sequencer, and Redis with routes."""

import asyncio
import os
from collections.abc import Sequence

from connectors.kafka.ports import QueueFull
from connectors.kafka.producer import KafkaProducer
from connectors.redis.client import RedisClient
from connectors.redis.routes import RedisRoutes, Route
from schemas.codec import encode_event
from schemas.events import SCHEMA_VERSION, MessageSubmitted, SubmittedRecord
from schemas.ids import conversation_of, partition_of, user_id
from schemas.topics import SUBMITTED

BODY = "Hello, are we still on for lunch tomorrow? I could be there at one."


async def prefill(
    kafka: str, redis: str, partitions: int, messages: int, conversations: int
) -> None:
    """Write `messages` records, in turn for each of `conversations`. The routes of their users name
    gateway slot 0."""
    users = [(user_id(f"alice{n}"), user_id(f"bob{n}")) for n in range(conversations)]
    await _route([user for pair in users for user in pair], redis)
    names = [conversation_of(*pair) for pair in users]
    places = [partition_of(name, partitions) for name in names]
    outboxes = [os.urandom(16) for _ in users]
    producer = KafkaProducer(
        kafka, {"linger.ms": 5, "queue.buffering.max.messages": 500_000}, on_fatal=print
    )
    for number in range(messages):
        n, ordinal = number % conversations, number // conversations + 1
        item = MessageSubmitted(
            names[n], users[n][0], "phone", outboxes[n], ordinal, os.urandom(16), 1, BODY
        )
        value = encode_event(SubmittedRecord(SCHEMA_VERSION, [item]))
        while True:
            try:
                producer.send(SUBMITTED, places[n], value)
                break
            except QueueFull:
                await asyncio.sleep(0.05)
    await producer.close(60.0)


async def _route(users: Sequence[str], redis: str) -> None:
    client = RedisClient(redis)
    routes = RedisRoutes(client)
    for start in range(0, len(users), 1000):
        await routes.write_routes(
            [Route(user, "phone", "bench", 0, 0) for user in users[start : start + 1000]]
        )
    await client.close()
