"""The histories of tests/property/test_devices_equal.py on real services: live, resumed and
cold-started devices end equal.

MESSENGER_CHAOS_SEED is the first seed (0). There is one, or three for each of several
MESSENGER_CHAOS_ROUNDS. A failure says its seed.
"""

import asyncio
import contextlib
import itertools
import os
import random
import shutil
import signal
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path

import pytest

from agents.rules.log import Verdict, judge, news
from connectors.kafka.reader import Reader
from connectors.redis.client import RedisClient, RedisUnavailable
from messenger_sdk import Client
from schemas.codec import decode_log
from schemas.ids import members_of_valid
from schemas.topics import LOG, RECEIPTS
from tests.chaos.conftest import ROUNDS
from tests.chaos.test_redis_wiped import emptied, killed_and_back_with_an_older_file
from tests.harness.client import BreakableClient
from tests.harness.device import token_of
from tests.harness.in_step import Marks, Shown, Truth, raise_marks
from tests.harness.people import ACCIDENTS, PEOPLE, USERS, People, Step, history
from tests.harness.stack import Stack

FIRST_SEED = int(os.environ.get("MESSENGER_CHAOS_SEED", "0"))
SEEDS = range(FIRST_SEED, FIRST_SEED + (3 * ROUNDS if ROUNDS > 1 else 1))
STEPS = 60
PARTITIONS = 4
SETTLE_SECONDS = 60.0
STAYS_SECONDS = 3.0

pytestmark = [pytest.mark.real, pytest.mark.chaos, pytest.mark.timeout(60 + 3 * 2 * 60 * ROUNDS)]
PARTS = {"gateways": 2, "cursors": 1, "presence": 1}


@pytest.fixture
async def redis(lab: Stack) -> AsyncIterator[RedisClient]:
    client = RedisClient(lab.redis)
    yield client
    await client.close()


async def kill_gateway(lab: Stack, redis: RedisClient, step: Step) -> None:
    lab.kill(f"gateway-{step.place % 2 + 1}")


async def empty_redis(lab: Stack, redis: RedisClient, step: Step) -> None:
    await emptied(lab, redis)


async def older_redis(lab: Stack, redis: RedisClient, step: Step) -> None:
    await killed_and_back_with_an_older_file(lab, redis)


async def kill_worker(lab: Stack, redis: RedisClient, step: Step) -> None:
    """With its disk, or without."""
    name = ("worker-1", "cursors-1", "presence-1")[step.place % 3]
    if step.number % 3 == 0:
        lab.kill(name, signal.SIGSTOP)
        await asyncio.to_thread(shutil.rmtree, lab.home / name, ignore_errors=True)
    lab.kill(name)


HAPPENS: Mapping[str, Callable[[Stack, RedisClient, Step], Awaitable[None]]] = {
    "kill gateway": kill_gateway,
    "empty redis": empty_redis,
    "older redis": older_redis,
    "kill worker": kill_worker,
}


@pytest.mark.soak
async def test_devices_that_stayed_came_back_or_begin_show_the_same(
    lab: Stack, redis: RedisClient, tmp_path: Path
) -> None:
    await asyncio.to_thread(shutil.copytree, lab.home / "redis", lab.home / "redis-older")
    for seed in SEEDS:
        began = time.monotonic()
        chance = random.Random(seed)
        steps = history(chance, {**PEOPLE, **ACCIDENTS}, STEPS)
        try:
            await play(lab, redis, tmp_path / str(seed), f"s{seed}", steps, chance)
        except Exception as error:
            raise AssertionError(f"MESSENGER_CHAOS_SEED={seed} finds a fault") from error
        print(
            f"seed {seed}: {Counter(step.kind for step in steps)}, {time.monotonic() - began:.0f} s"
        )


async def play(
    lab: Stack,
    redis: RedisClient,
    folder: Path,
    prefix: str,
    steps: list[Step],
    chance: random.Random,
) -> None:
    """One history of people of its own, and what all must see after it."""
    people = People([f"{prefix}-{user}" for user in USERS], folder, client_on(lab), lose)
    try:
        await people.come()
        for step in steps:
            if step.kind in PEOPLE:
                await people.do(step)
            else:
                with contextlib.suppress(ProcessLookupError, RedisUnavailable):  # it is down
                    await HAPPENS[step.kind](lab, redis, step)
            for device in people.here:
                device.look_around()
            await asyncio.sleep(chance.random() * 0.2)
        await settled(lab, people)
        await people.all_come_back()
        await settled(lab, people)
    finally:
        await people.end()


def client_on(lab: Stack) -> Callable[[str, str, Path | None], Client]:
    """Makes clients that prefer one gateway or the other in turn."""
    made = itertools.count()

    def make(user: str, device: str, folder: Path | None) -> Client:
        first = next(made) % 2
        return BreakableClient(
            [*lab.gateway_urls[first:], *lab.gateway_urls[:first]],
            token_of(lab, user),
            device,
            folder=folder,
        )

    return make


def lose(client: Client) -> None:
    """Its connection breaks, without a word."""
    assert isinstance(client, BreakableClient)
    client.network.abort()


async def settled(lab: Stack, people: People) -> None:
    """Until nothing is wrong: everybody is back, and sees the same. What is right stays right for
    the time of a lease."""
    until, right_since = time.monotonic() + SETTLE_SECONDS, None
    while True:
        for device in people.here:
            device.look_around()
        waiting = [
            device
            for device in people.here
            if not device.online or device.client.device.unanswered()
        ]
        wrong = [f"{device.user}/{device.name} is {device.client.state}" for device in waiting]
        if not wrong:
            wrong = people.wrong(await asyncio.to_thread(truth, lab, people))
        if wrong:
            assert time.monotonic() < until, "\n".join(wrong)
            right_since = None
        elif right_since is None:
            right_since = time.monotonic()
        elif time.monotonic() - right_since >= STAYS_SECONDS:
            return
        await asyncio.sleep(0.5)


def truth(lab: Stack, people: People) -> Truth:
    """What Kafka says of these people."""
    log: dict[str, list[Shown]] = defaultdict(list)
    marks: dict[tuple[str, str], Marks] = {}
    reader = Reader(lab.kafka)
    try:
        for partition in range(PARTITIONS):
            position = -1
            for record in reader.read(LOG, partition, *reader.watermarks(LOG, partition)):
                entry = decode_log(record.value)
                if judge(position, entry) is Verdict.TAKE:
                    for item in news(position, entry):
                        if item.seq:
                            log[item.conversation].append(
                                Shown(item.seq, item.sender, item.key.hex(), item.body)
                            )
                    position = entry.to
            for record in reader.read(RECEIPTS, partition, *reader.watermarks(RECEIPTS, partition)):
                raise_marks(marks, record.value)
    finally:
        reader.close()
    mine = {
        name: messages
        for name, messages in log.items()
        if set(members_of_valid(name)) <= set(people.users)
    }
    return Truth(mine, marks, people.online())
