"""State, offsets, input or log lost: rebuilt right, or the partition halts and says what to do;
others run (R3, R8)."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from agents.sequencer.stage import GROUP
from schemas.ids import partition_of
from schemas.topics import LOG, SNAPSHOTS, SUBMITTED
from tests.chaos.conftest import ROUNDS
from tests.harness import kafka
from tests.harness.stack import Stack
from tests.harness.talk import Talk
from tests.harness.worker import Worker

pytestmark = [pytest.mark.real, pytest.mark.chaos, pytest.mark.timeout(300 + 120 * ROUNDS)]

Judged = Callable[[], Awaitable[None]]


@pytest.fixture
async def worker(workers: list[Worker], talk: Talk) -> Worker:
    """A worker that has sequenced ten messages of alice and bob and has stopped."""
    first = workers[0]
    first.start()
    first.wait_healthy()
    alice, _ = await talk.join("alice"), await talk.join("bob")
    await talk.say(alice, "bob", [f"before {n}" for n in range(10)])
    await talk.settle()
    assert await asyncio.to_thread(first.stop) == 0
    return first


def place(talk: Talk) -> int:
    return partition_of(f"{talk.user('alice')}:{talk.user('bob')}", 4)


async def goes_on(worker: Worker, talk: Talk) -> None:
    """The next message gets number 11."""
    worker.start()
    await asyncio.to_thread(worker.wait_healthy)
    sent = await talk.clients[f"{talk.user('alice')}/one"].send(talk.user("bob"), "after")
    talk.sent(sent.conversation, sent.seq, "after")
    assert sent.seq == 11


def halts(worker: Worker, partition: int, reason: str) -> None:
    """One partition halts for `reason`, health is red, the others run."""
    worker.start()
    worker.wait_for(
        lambda: [p["status"] for p in worker.partitions().values()].count("running") == 3
    )
    worker.wait_for(lambda: worker.partitions()[partition]["status"] == "halted")
    assert reason in worker.partitions()[partition]["reason"]
    health = worker.page("/health/")
    assert health is not None
    assert health["healthy"] is False


async def test_data_directory_deleted(worker: Worker, talk: Talk, judged: Judged) -> None:
    worker.forget_state()
    await goes_on(worker, talk)
    await judged()


@pytest.mark.alone
async def test_more_partitions_in_kafka_change_no_number_and_are_refused_as_a_setting(
    worker: Worker, lab: Stack, talk: Talk, judged: Judged, tmp_path: Path
) -> None:
    """Fault 13: with MESSENGER_PARTITIONS=8 conversations that moved were numbered from 1 again;
    with 4 nothing started any more."""
    kafka.add_partitions(lab, 8)
    more = {
        **lab.environment(),
        "MESSENGER_PARTITIONS": "8",
        "MESSENGER_STATE_DIR": str(tmp_path),
        "MESSENGER_TOKEN_SECRET": "s" * 32,
    }
    for command in (["worker", "sequencer"], ["gateway"], ["topics", "check"]):
        ended = await asyncio.to_thread(lab.run, *command, environment=more)
        assert ended.returncode == (1 if "check" in command else 2), ended.stderr
        assert "the log was made for 4 partitions, and MESSENGER_PARTITIONS is 8" in ended.stderr
    assert (await asyncio.to_thread(lab.run, "topics", "check")).returncode == 0
    await goes_on(worker, talk)
    await judged()


async def test_group_offset_gone(worker: Worker, lab: Stack, talk: Talk, judged: Judged) -> None:
    kafka.forget_group(lab, GROUP)
    await goes_on(worker, talk)
    await judged()


async def test_log_recreated_is_folded_again_from_the_input(
    worker: Worker, lab: Stack, talk: Talk, judged: Judged
) -> None:
    kafka.recreate(lab, LOG)
    await goes_on(worker, talk)
    await judged()


@pytest.mark.soak
@pytest.mark.alone
async def test_log_head_gone_goes_on_with_the_state_and_halts_without(
    worker: Worker, lab: Stack, talk: Talk
) -> None:
    kafka.expire(lab, LOG, place(talk))
    await goes_on(worker, talk)
    assert await asyncio.to_thread(worker.stop) == 0
    worker.forget_state()
    kafka.expire(lab, SNAPSHOTS, place(talk))  # it may have had the time to write one
    halts(worker, place(talk), "there is no snapshot")


@pytest.mark.soak
@pytest.mark.alone
async def test_a_stop_that_hangs_in_faust_keeps_the_state(
    workers: list[Worker], lab: Stack, talk: Talk
) -> None:
    worker = workers[0]
    worker.start(hang="stop")
    worker.wait_healthy()
    alice, _ = await talk.join("alice"), await talk.join("bob")
    await talk.say(alice, "bob", [f"before {n}" for n in range(10)])
    await talk.settle()
    assert await asyncio.to_thread(worker.stop) == 0
    assert "stopping took longer" in worker.log.read_text()
    kafka.expire(lab, LOG, place(talk))
    await goes_on(worker, talk)


@pytest.mark.soak
@pytest.mark.alone
async def test_input_tail_cut_halts(worker: Worker, lab: Stack, talk: Talk) -> None:
    lab.kill("kafka", signal.SIGKILL)
    kafka.cut_tail(lab, SUBMITTED, place(talk), batches=1)
    await asyncio.to_thread(lab.wait_healthy)
    halts(worker, place(talk), "its tail was lost")


@pytest.mark.alone
async def test_input_recreated_halts_a_running_worker_and_its_successors(
    workers: list[Worker], lab: Stack, talk: Talk
) -> None:
    """The one with its state, and the one without."""
    worker = workers[0]
    worker.start()
    worker.wait_healthy()
    alice, _ = await talk.join("alice"), await talk.join("bob")
    for number in range(10):
        await talk.say(alice, "bob", [f"before {number}"])
    kafka.recreate(lab, SUBMITTED)
    lost = talk.begin(alice, "bob", "into another input")
    worker.wait_for(
        lambda: worker.partitions().get(place(talk), {}).get("status") == "halted", timeout=60
    )
    assert "the input was re-created" in worker.partitions()[place(talk)]["reason"]
    lost.cancel()
    assert await asyncio.to_thread(worker.stop) == 0
    halts(worker, place(talk), "the input was re-created")
    assert await asyncio.to_thread(worker.stop) == 0
    worker.forget_state()
    halts(worker, place(talk), "its tail was lost")


@pytest.mark.alone
@pytest.mark.soak
async def test_a_leader_without_acknowledged_inputs_halts_the_partition_that_has_folded_them(
    workers: list[Worker], lab: Stack, talk: Talk
) -> None:
    """Fault 1: what Kafka does with one in-sync replica. Others have the offsets by then."""
    worker = workers[0]
    worker.start()
    worker.wait_healthy()
    alice, _ = await talk.join("alice"), await talk.join("bob")
    for number in range(5):
        await talk.say(alice, "bob", [f"before {number}"])
    await talk.settle()
    lab.kill("kafka", signal.SIGKILL)
    kafka.cut_tail(lab, SUBMITTED, place(talk), batches=2)
    await asyncio.to_thread(kafka.produce, lab, SUBMITTED, place(talk), *[b"other"] * 4)
    worker.wait_for(
        lambda: worker.partitions().get(place(talk), {}).get("status") == "halted", timeout=60
    )
    reason = worker.partitions()[place(talk)]["reason"]
    assert "is not the one that was folded" in reason or "its tail was lost" in reason
    print(reason)
