"""The log's head has expired, and the state comes back from a snapshot (R8). The judge of the
topics needs logs that begin at 0; here the devices are judged: what they show is dense, once, in
order, and the next number is the next."""

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas.codec import decode_snapshot
from schemas.events import SnapshotRecord
from schemas.ids import partition_of
from schemas.topics import CHUNKS, LOG, SNAPSHOTS
from tests.chaos.conftest import PARTITIONS, ROUNDS, all_are_with, running
from tests.harness import kafka
from tests.harness.crashing_worker import SNAPSHOT_POINTS
from tests.harness.load import Load
from tests.harness.stack import Stack
from tests.harness.talk import Talk
from tests.harness.worker import Worker

pytestmark = [
    pytest.mark.real,
    pytest.mark.chaos,
    pytest.mark.alone,
    pytest.mark.timeout(300 + 120 * ROUNDS),
]


@pytest.fixture
def fleet(lab: Stack, tmp_path: Path) -> Iterator[list[Worker]]:
    """Four workers, not started; ended at the end."""
    workers = [Worker(lab, number, "sequencer", tmp_path) for number in range(4)]
    yield workers
    for worker in workers:
        worker.end()


def place(talk: Talk, other: str = "bob") -> int:
    return partition_of(f"{talk.user('alice')}:{talk.user(other)}", PARTITIONS)


def snapshots(lab: Stack, partition: int) -> list[SnapshotRecord]:
    return [decode_snapshot(one.value) for one in kafka.read_all(lab, SNAPSHOTS, partition)]


def write(lab: Stack, worker: Worker, partition: int) -> SnapshotRecord:
    """The newest snapshot of a partition, after another was asked for."""
    ended = lab.run("snapshot", "write", "--partition", str(partition), "--worker", worker.url)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return snapshots(lab, partition)[-1]


def damage(lab: Stack, partition: int, record: SnapshotRecord) -> None:
    """A bit of the snapshot's first chunk turns over on the broker's disk."""
    (folder,) = (lab.home / "kafka" / "data").glob(f"{CHUNKS}-{partition}")
    for segment in folder.glob("*.log"):
        content = bytearray(segment.read_bytes())
        at = content.find(record.id.encode())
        if at >= 0:
            with segment.open("r+b") as file:
                file.seek(at + len(record.id) + 10)
                file.write(bytes((content[at + len(record.id) + 10] ^ 1,)))
            return
    raise AssertionError(f"{record.id} is in no segment of {folder}")


async def next_is(worker: Worker, talk: Talk, seq: int) -> None:
    """The next message gets this number."""
    worker.start()
    await asyncio.to_thread(worker.wait_healthy)
    await say(talk, seq)


async def say(talk: Talk, seq: int) -> None:
    """A message of alice to bob, which gets this number."""
    body = f"message {seq}"
    sent = await talk.clients[f"{talk.user('alice')}/one"].send(talk.user("bob"), body)
    talk.sent(sent.conversation, sent.seq, body)
    assert sent.seq == seq


async def stopped(worker: Worker) -> None:
    assert await asyncio.to_thread(worker.stop) == 0


async def test_the_log_head_and_the_disk_are_gone_and_then_the_newest_snapshot_and_then_all(
    lab: Stack, workers: list[Worker], talk: Talk
) -> None:
    worker, partition = workers[0], place(talk)
    worker.start()
    worker.wait_healthy()
    alice, _ = await talk.join("alice"), await talk.join("bob")
    await talk.say(alice, "bob", [f"message {number}" for number in range(1, 11)])
    await talk.settle()
    before = await asyncio.to_thread(write, lab, worker, partition)
    kafka.expire(lab, LOG, partition)
    await stopped(worker)
    worker.forget_state()
    await next_is(worker, talk, 11)

    newest = await asyncio.to_thread(write, lab, worker, partition)
    assert newest.log_offset > before.log_offset
    listed = await asyncio.to_thread(lab.run, "snapshot", "list")
    assert listed.stdout.count(f"partition {partition}: log offset") == 2
    await stopped(worker)
    damage(lab, partition, newest)
    worker.forget_state()
    await next_is(worker, talk, 12)
    await talk.settle()
    assert talk.verdict().lines() == ["dense, once, in order, equal everywhere"]
    log = worker.log.read_text()
    assert f"snapshot {newest.id} is damaged" in log
    assert f"is restored from snapshot {before.id}" in log

    await stopped(worker)
    damage(lab, partition, before)
    worker.forget_state()
    worker.start()
    worker.wait_for(lambda: worker.partitions().get(partition, {}).get("status") == "halted")
    worker.wait_for(lambda: len(running(worker)) == PARTITIONS - 1)
    reason = worker.partitions()[partition]["reason"]
    assert "no snapshot can be used" in reason
    assert "put the worker's state directory" in reason


@pytest.mark.soak
async def test_the_writer_is_killed_at_several_chunks(
    lab: Stack, workers: list[Worker], talk: Talk
) -> None:
    worker, partition = workers[0], place(talk)
    worker.start()
    worker.wait_healthy()
    alice, _ = await talk.join("alice"), await talk.join("bob")
    names = [f"user{number}" for number in range(100)]
    here = [name for name in names if place(talk, name) == partition][:4]
    for name in here:  # a snapshot has two rows of each conversation, and here a chunk for each row
        await talk.say(alice, name, [f"to {name}"])
    await talk.say(alice, "bob", ["message 1"])
    await talk.settle()
    whole = await asyncio.to_thread(write, lab, worker, partition)
    await stopped(worker)
    points = [("chunk", chunks) for chunks in (0, 1, 5, 9)] * ROUNDS
    for number, (point, chunks) in enumerate([*points, ("recorded", 0)]):
        worker.start(point, after=chunks)
        worker.wait_healthy()
        await say(talk, 2 + 2 * number)
        page = f"/sequencer/snapshot/{partition}/"
        assert await asyncio.to_thread(worker.page, page) is None
        assert await asyncio.to_thread(worker.wait_dead, 60)
        assert worker.process is not None
        assert worker.process.returncode == -signal.SIGKILL
        print(f"killed when {SNAPSHOT_POINTS[point]} ({chunks})")
        found = snapshots(lab, partition)
        assert found[0].id == whole.id
        assert len(found) == 1 + (point == "recorded")
        kafka.expire(lab, LOG, partition, found[-1].log_offset + 1)
        worker.forget_state()
        await next_is(worker, talk, 3 + 2 * number)
        assert f"is restored from snapshot {found[-1].id}" in worker.log.read_text()
        await stopped(worker)
    await talk.settle()
    assert talk.verdict().lines() == ["dense, once, in order, equal everywhere"]


@pytest.mark.soak
async def test_from_one_worker_to_four_and_back_after_the_log_has_expired(
    lab: Stack, fleet: list[Worker], load: Load, talk: Talk
) -> None:
    """Each move is to a disk that has nothing, or what the log does not continue any more."""
    first = fleet[0]
    first.start()
    first.wait_healthy()
    await load.start()

    async def expire() -> None:
        await load.sent(100)
        for partition in range(PARTITIONS):
            owner = next(
                worker
                for worker in fleet
                if worker.process is not None and partition in running(worker)
            )
            record = await asyncio.to_thread(write, lab, owner, partition)
            kafka.expire(lab, LOG, partition, record.log_offset + 1)

    for _ in range(ROUNDS):
        await expire()
        for worker in fleet[1:]:
            worker.start()
        await all_are_with(*fleet)
        print(f"four workers: dark for at most {await load.dark():.1f} s")
        await expire()
        for worker in fleet[1:]:
            await stopped(worker)
            worker.process = None
        await all_are_with(first)
        print(f"one worker again: dark for at most {await load.dark():.1f} s")
    await load.stop()
    await talk.settle(60)
    assert talk.verdict().lines() == ["dense, once, in order, equal everywhere"]
    for worker in fleet:
        assert "is restored from snapshot" in worker.log.read_text()
