"""A stack of three brokers: people talk on while one is killed, and nothing is lost."""

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from connectors.kafka.broker_leaving import unregister
from ops.local.brokers import brokers as cluster
from schemas.topics import SUBMITTED
from tests.harness.brokers import Brokers
from tests.harness.load import Load
from tests.harness.stack import Stack
from tests.harness.talk import Talk

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]

_ON_AGAIN_SECONDS = 30.0


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    home: Path = tmp_path_factory.mktemp("three") / "stack"
    with Stack(home, brokers=3, cursors=None, presence=None) as running:
        running.wait_healthy()
        yield running


def test_each_broker_is_a_part_and_the_home_keeps_their_number(three: Stack) -> None:
    status = json.loads(three.run("local", "status", "--json").stdout)
    names = ["kafka-1", "kafka-2", "kafka-3"]
    assert [name for name in status if name.startswith("kafka")] == names
    assert ",".join(status[name]["address"] for name in names) == three.kafka
    assert all(three.run("local", "logs", name).returncode == 0 for name in names)
    other = three.run("local", "up", "--brokers", "1")
    assert (other.returncode, "was begun with BROKERS=3" in other.stderr) == (2, True)
    two = three.run("local", "up", "--brokers", "2")
    assert (two.returncode, "Traceback" in two.stderr) == (2, False)


def test_every_partition_is_on_three_brokers_and_kafkas_own_too(three: Stack) -> None:
    found = Brokers(three).partitions()
    assert {topic for topic, _ in found} >= {SUBMITTED, "__consumer_offsets"}
    assert {frozenset(one.replicas) for one in found.values()} == {frozenset({1, 2, 3})}


async def test_people_talk_on_while_a_broker_is_killed_and_nothing_is_lost(three: Stack) -> None:
    brokers = Brokers(three)
    async with Talk(three, "talk") as talk:
        load = Load(talk)
        try:
            await load.start()
            await load.sent(50)
            victim = await asyncio.to_thread(brokers.leader, SUBMITTED, 0)
            began = time.monotonic()
            brokers.pause(victim)
            others = [
                ("127.0.0.1", one.controller)
                for one in cluster(three.home, three.base_port, three.brokers)
                if one.number != victim
            ]
            said = [await unregister(victim, others, three.kafka) for _ in range(2)]
            brokers.kill(victim)
            assert said == [True, False], "said before its session is over, and no longer known"
            dark = await load.dark(_ON_AGAIN_SECONDS)
            await brokers.whole()
            print(f"dark for {dark:.1f} s, all three again after {time.monotonic() - began:.1f} s")
            await load.stop()
            await talk.settle(60)
        finally:
            await load.cancel()
        assert talk.verdict().lines() == ["dense, once, in order, equal everywhere"]
    judged = await asyncio.to_thread(three.run, "audit")
    assert judged.returncode == 0, judged.stdout + judged.stderr
    assert three.parts()[brokers.name(victim)]["restarts"] == 1
    await asyncio.to_thread(three.wait_healthy)
