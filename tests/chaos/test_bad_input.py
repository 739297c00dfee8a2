"""Garbage, oversized and newer records; Redis away (R5, R7)."""

import asyncio
import json
import os
import signal
from collections.abc import Awaitable, Callable

import msgspec
import pytest

from schemas.codec import decode_dead_letter, encode_event
from schemas.codes import Code
from schemas.events import CHANGES_VERSION, SCHEMA_VERSION, MessageSubmitted, SubmittedRecord
from schemas.ids import partition_of
from schemas.topics import DEAD_LETTERS, SUBMITTED
from tests.chaos.conftest import ROUNDS
from tests.harness import kafka
from tests.harness.load import Load
from tests.harness.stack import Stack
from tests.harness.talk import Talk
from tests.harness.worker import Worker

pytestmark = [pytest.mark.real, pytest.mark.chaos, pytest.mark.timeout(300 + 120 * ROUNDS)]

Judged = Callable[[], Awaitable[None]]


@pytest.mark.alone
async def test_poison_is_set_aside_and_a_newer_record_halts_in_place(
    lab: Stack, talk: Talk, workers: list[Worker], judged: Judged
) -> None:
    worker = workers[0]
    worker.start()
    worker.wait_healthy()
    alice, bob = await talk.join("alice"), await talk.join("bob")
    await talk.say(alice, "bob", ["before"])
    conversation = f"{talk.user('alice')}:{talk.user('bob')}"
    partition = partition_of(conversation, 4)
    stranger = MessageSubmitted(
        conversation, "mallory", "x", os.urandom(16), 1, os.urandom(16), 0, "not a member"
    )
    poison = {
        b"": Code.RECORD_UNREADABLE,
        b"garbage": Code.RECORD_UNREADABLE,
        os.urandom(280 * 1024): Code.RECORD_TOO_LARGE,
        msgspec.msgpack.encode([1, [["?"]]]): Code.ITEM_INVALID,
        msgspec.msgpack.encode([1, [[2, 0]]]): Code.CONTROL_INVALID,
        encode_event(SubmittedRecord(SCHEMA_VERSION, [stranger])): Code.NOT_A_MEMBER,
    }
    kafka.produce(lab, SUBMITTED, partition, *poison)
    await talk.say(bob, "alice", ["between"])
    worker.wait_for(
        lambda: worker.partitions()[partition]["appended"] == 7, timeout=10
    )  # dead letters come before appends
    letters = [
        decode_dead_letter(record.value) for record in kafka.read_all(lab, DEAD_LETTERS, partition)
    ]
    assert [Code.of(letter.code) for letter in letters] == list(poison.values())
    assert [letter.value for letter in letters if letter.index < 0] == list(poison)[:3]
    assert {(letter.topic, letter.partition) for letter in letters} == {(SUBMITTED, partition)}
    await judged()

    newer = CHANGES_VERSION + 1
    kafka.produce(lab, SUBMITTED, partition, msgspec.msgpack.encode([newer, "from the future"]))
    worker.wait_for(lambda: worker.partitions()[partition]["status"] == "halted")
    assert f"version {newer}" in worker.partitions()[partition]["reason"]
    health = worker.page("/health/")
    assert health is not None
    assert health["healthy"] is False
    overview = worker.page("/overview/")
    assert overview is not None
    halt = next(f for f in overview["findings"] if f["part"] == f"sequencer partition {partition}")
    assert f"version {newer}" in halt["what"]
    assert "restart its worker" in halt["do"]
    other = next(
        n
        for n in range(100)
        if partition_of(f"{talk.user('alice')}:{talk.user(f'c{n}')}", 4) != partition
    )
    await talk.join(f"c{other}")
    await talk.say(alice, f"c{other}", ["another partition runs"])
    waiting = talk.begin(alice, "bob", "this one waits")
    await asyncio.sleep(1)
    assert not waiting.done()
    waiting.cancel()
    assert worker.process is not None
    assert worker.process.poll() is None


@pytest.mark.soak
async def test_redis_away_during_a_rebalance(
    lab: Stack, workers: list[Worker], load: Load, judged: Judged
) -> None:
    away = 60 if ROUNDS > 1 else 12
    for worker in workers:
        worker.start()
        worker.wait_healthy()
    await load.start()
    await load.sent(100)
    lab.kill("redis", signal.SIGSTOP)
    await asyncio.sleep(1)
    workers[1].kill()
    await asyncio.sleep(away - 1)
    taken_over = workers[0].partitions()
    assert sorted(taken_over) == [0, 1, 2, 3]
    assert all(p["status"] == "running" for p in taken_over.values()), "sequencing goes on"
    assert any(p["waiting_for_redis"] for p in taken_over.values())
    assert all(p["appended"] > p["delivered"] for p in taken_over.values()), (
        "deliveries wait as a position in the log"
    )
    lab.kill("redis", signal.SIGCONT)
    print(f"Redis away for {away} s: dark for {await load.dark():.1f} s")
    await load.stop()
    await judged()


@pytest.mark.alone
async def test_an_operator_gives_up_what_expired_unread(
    lab: Stack, talk: Talk, workers: list[Worker]
) -> None:
    worker = workers[0]
    worker.start()
    worker.wait_healthy()
    alice, _ = await talk.join("alice"), await talk.join("bob")
    await talk.say(alice, "bob", ["before"])
    partition = partition_of(f"{talk.user('alice')}:{talk.user('bob')}", 4)
    worker.stop()
    waiting = talk.begin(alice, "bob", "it expires, and is sent again")
    while kafka.watermarks(lab, SUBMITTED, partition)[1] < 2:
        await asyncio.sleep(0.1)
    kafka.expire(lab, SUBMITTED, partition)
    worker.start()
    await asyncio.to_thread(
        worker.wait_for, lambda: worker.partitions().get(partition, {}).get("status") == "halted"
    )
    listed = await asyncio.to_thread(lab.run, "partition", "list", "--halted", "--json")
    assert listed.returncode == 1, listed.stderr
    found = [json.loads(line) for line in listed.stdout.splitlines()]
    (place,) = (one for one in found if one["stage"] == "sequencer" and one["state"] == "halted")
    assert place["partition"] == partition
    assert "expired unread" in place["why"]
    skip = ["partition", "skip", "sequencer", str(partition), "--reason", "a test"]
    said = await asyncio.to_thread(lab.run, *skip)
    assert (said.returncode, "would set aside" in said.stdout) == (0, True), said.stderr
    done = await asyncio.to_thread(lab.run, *skip, "--yes")
    assert done.returncode == 0, done.stderr
    await asyncio.wait_for(waiting, 30)
    again = await asyncio.to_thread(lab.run, *skip, "--yes")
    assert (again.returncode, "is not halted" in again.stderr) == (1, True), again.stderr
    await talk.settle(60)
    assert talk.verdict().lines() == ["dense, once, in order, equal everywhere"]
