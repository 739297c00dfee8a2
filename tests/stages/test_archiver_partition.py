"""One partition of the archiver, of either topic: nothing moves before it is acknowledged, nothing
is given up."""

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from agents.archiver import stage
from agents.archiver.backlog import PARTITION_BYTES
from agents.archiver.content import CURSORS, MESSAGES, Content
from agents.archiver.partition import ArchiverPartition
from agents.archiver.stage import archiver_stages
from connectors.clickhouse.memory import Fate, MemoryArchive
from connectors.clickhouse.ports import ArchiveRefused
from connectors.kafka.memory import MemoryKafka
from connectors.kafka.memory_broker import MemoryBroker
from connectors.kafka.memory_readers import MemoryReader
from connectors.kafka.record import Record
from schemas import topics
from schemas.archive import DELIVERED, READ, Row
from schemas.codec import decode_log, encode_event
from schemas.events import READ as READ_CURSOR
from schemas.events import RECEIVED, SCHEMA_VERSION, CursorRecord, LogRecord, Taken
from schemas.numbering import Numbering
from streams.inputs import Inputs
from streams.partition import Status
from tests.harness.fake_gateway import eventually
from tests.harness.stage_run import StageRun

SOON = MESSAGES._replace(linger=0.05)
CURSORS_SOON = CURSORS._replace(linger=0.05)
NEWER = msgspec.msgpack.encode([SCHEMA_VERSION + 1, "from the future"])

Run = StageRun[ArchiverPartition[Any]]


def record(offset: int, count: int = 1, body: str = "hi", partition: int = 0) -> bytes:
    """The log record at `offset`: the next `count` messages of a conversation."""
    first = offset * count
    taken = [
        Taken(
            n,
            1000 + n,
            f"alice:bob{partition}",
            "alice",
            "phone",
            bytes(16),
            n + 1,
            n.to_bytes(16),
            n + 1,
            0,
            body,
        )
        for n in range(first, first + count)
    ]
    return encode_event(LogRecord(SCHEMA_VERSION, 1, first, first + count - 1, 1, 0, 0, 0, taken))


def entry(first: int, last: int) -> bytes:
    """A log record that covers these input offsets; each holds the next message."""
    taken = [decode_log(record(offset)).taken[0] for offset in range(first, last + 1)]
    return encode_event(LogRecord(SCHEMA_VERSION, 1, first, last, 1, 0, 0, 0, taken))


def cursor(device: str, seq: int, time: int = 1000) -> bytes:
    """A record of `cursors`."""
    return encode_event(CursorRecord(SCHEMA_VERSION, "alice:bob", "bob", device, seq, time))


class Lab:
    """A Kafka and an archive, and workers on them."""

    def __init__(self, partitions: int = 1) -> None:
        self.archive = MemoryArchive()
        counts = dict.fromkeys((topics.LOG, topics.CURSORS, topics.SUBMITTED), partitions)
        self.kafka = MemoryKafka(MemoryBroker(counts))
        self.partitions = partitions

    def worker(self, content: Content[Any] = SOON) -> Run:
        [spec] = archiver_stages(
            self.kafka, self.archive, Inputs(self.kafka), self.partitions, [content]
        )
        return StageRun(self.kafka, spec, range(self.partitions))

    def say(self, *values: bytes, topic: str = topics.LOG, partition: int = 0) -> None:
        for value in values:
            self.kafka.broker.append(topic, partition, value)

    def tokens(self) -> list[str]:
        """Of the inserts, without what differs from run to run."""
        return [token.rpartition("/")[0].partition("/")[2] for token in self.archive.tokens]

    @property
    def seqs(self) -> list[int]:
        return sorted(seq for _, seq in self.archive.rows)


@pytest.fixture
def lab() -> Lab:
    return Lab()


async def test_the_offset_moves_when_the_rows_are_there(lab: Lab) -> None:
    async with lab.worker() as run:
        partition = await run.running()
        assert partition.committable == 0
        lab.say(record(0), record(1))
        await eventually(lambda: partition.next_offset == 2)
        assert (partition.committable, partition.idle) == (0, False)
        await run.done(2)
        assert lab.seqs == [1, 2]
        assert lab.tokens() == ["0/0-1"]
        assert partition.idle


async def test_an_archive_away_is_waited_for_and_the_same_block_comes_again(lab: Lab) -> None:
    async with lab.worker() as run:
        partition = await run.running()
        lab.archive.away = "gone fishing"
        lab.say(record(0))
        await eventually(lambda: run.figures["errors"] >= 2)
        assert (partition.committable, partition.status) == (0, Status.RUNNING)
        status, problems = await run.health()
        assert status == 503
        assert any("gone fishing" in problem for problem in problems)
        lab.say(record(1))
        lab.archive.away = None
        await run.done(2)
        assert lab.tokens() == ["0/0-0", "0/1-1"]
        assert partition.report()["last_error"] == "gone fishing"
        assert (await run.health()) == (200, [])


async def test_a_refusal_is_tried_again_until_somebody_mends_it(lab: Lab) -> None:
    async with lab.worker() as run:
        partition = await run.running()
        lab.archive.fates += [Fate.REFUSED, Fate.REFUSED]
        lab.say(record(0))
        await run.done(1)
        assert (partition.status, run.figures["errors"]) == (Status.RUNNING, 2)


async def test_a_slow_archive_makes_it_read_no_more(lab: Lab) -> None:
    async with lab.worker() as run:
        partition = await run.running()
        lab.archive.away = "slow"
        count = 0
        while not partition.full:
            lab.say(record(count, count=100, body="x" * 1000))
            count += 1
            await run.read(count)
        assert PARTITION_BYTES <= partition.report()["bytes_waiting"] < PARTITION_BYTES * 1.1
        lab.archive.away = None
        await run.done(count)
        assert not partition.paused
        assert len(lab.archive.rows) == count * 100
        assert len(lab.archive.tokens) > 1


async def test_a_newer_record_halts_and_what_was_before_it_is_archived(lab: Lab) -> None:
    async with lab.worker() as run:
        partition = await run.running()
        lab.say(record(0), NEWER, record(2))
        await eventually(lambda: partition.status is Status.HALTED)
        assert partition.paused
        assert f"version {SCHEMA_VERSION + 1}" in partition.reason
        await run.done(1)
        assert lab.seqs == [1]
        assert "version" in partition.reason


async def test_records_read_again_after_a_rebalance_are_known(lab: Lab) -> None:
    async with lab.worker() as run:
        partition = await run.running()
        records = [Record(0, offset, 1000, record(offset)) for offset in range(3)]
        partition.feed(records[:2])
        partition.feed(records)
        await run.done(3)
        assert run.figures["rows"] == 3


async def test_what_expired_unarchived_is_an_alarm(lab: Lab) -> None:
    lab.say(*(record(offset) for offset in range(50)))
    async with lab.worker() as run:
        await run.running()
        await run.done(50)
        run.commit()
    lab.say(*(record(offset) for offset in range(50, 100)))
    lab.kafka.broker.expire(topics.LOG, 0, 80)
    async with lab.worker() as run:
        partition = await run.running()
        await run.done(100)
        assert "30 records before offset 80 expired" in partition.lost
        assert any("expired" in problem for problem in (await run.health())[1])


async def test_another_numbering_halts(lab: Lab) -> None:
    await lab.archive.prepare(Numbering("another", "log", 1, 1))
    async with lab.worker() as run:
        await eventually(lambda: run.partition.status is Status.HALTED)
        assert "another" in run.partition.reason
        assert run.partition.next_offset is None


async def test_an_archive_of_another_number_of_partitions_halts(lab: Lab) -> None:
    async with lab.worker() as run:
        await run.running()
    lab.partitions = 2
    async with lab.worker() as run:
        await eventually(lambda: run.partition.status is Status.HALTED)
        assert "the archive was made for 1 partitions" in run.partition.reason


async def test_cursors_of_users_become_rows_and_those_of_devices_none(lab: Lab) -> None:
    async with lab.worker(CURSORS_SOON) as run:
        await run.running()
        lab.say(
            cursor(RECEIVED, 5),
            cursor(READ_CURSOR, 3),
            cursor("phone", 3),
            cursor(RECEIVED, 90, time=1070),
            topic=topics.CURSORS,
        )
        await run.done(4)
        assert lab.archive.cursors == {
            ("alice:bob", "bob", DELIVERED, 5): 1000,
            ("alice:bob", "bob", READ, 3): 1000,
            ("alice:bob", "bob", DELIVERED, 90): 1070,
        }
        assert run.figures["rows"] == 3, "none for each of 90 messages"


async def test_cursors_that_compaction_has_thinned_out_and_late_ones_are_taken(lab: Lab) -> None:
    async with lab.worker(CURSORS_SOON) as run:
        partition = await run.running()
        for offset, value in (
            (4, cursor(RECEIVED, 9)),
            (17, cursor(RECEIVED, 5, time=900)),
            (18, cursor(RECEIVED, 9, time=2000)),
        ):
            partition.feed([Record(0, offset, 1000, value)])
        await run.done(19)
        assert lab.archive.cursors == {
            ("alice:bob", "bob", DELIVERED, 5): 900,
            ("alice:bob", "bob", DELIVERED, 9): 1000,
        }
        assert (lab.archive.rows, partition.lost) == ({}, "")


async def test_cursors_killed_before_the_commit_come_again_and_change_nothing(lab: Lab) -> None:
    lab.say(
        *(cursor(RECEIVED, offset + 1, time=1000 + offset) for offset in range(20)),
        topic=topics.CURSORS,
    )
    async with lab.worker(CURSORS_SOON) as run:
        await run.running()
        await run.done(20)
    before = dict(lab.archive.cursors)
    async with lab.worker(CURSORS_SOON) as run:
        await run.running()
        await run.done(20)
    assert lab.archive.cursors == before
    assert len(before) == 20


async def test_a_newer_cursor_halts_and_says_where(lab: Lab) -> None:
    async with lab.worker(CURSORS_SOON) as run:
        partition = await run.running()
        lab.say(NEWER, topic=topics.CURSORS)
        await eventually(lambda: partition.status is Status.HALTED)
        assert partition.reason.startswith("record 0 of cursors: record of schema version")


async def test_closed_in_the_middle_it_commits_only_what_is_there(lab: Lab) -> None:
    async with lab.worker() as run:
        partition = await run.running()
        lab.say(record(0))
        await run.done(1)
        lab.archive.away = "away"
        lab.say(record(1))
        await eventually(lambda: partition.next_offset == 2)
    assert partition.committable == 1


async def test_a_log_that_has_lost_its_tail_under_a_worker_is_archived_again(lab: Lab) -> None:
    """Fault 12: the archiver passed over records at offsets that it had seen before."""
    async with lab.worker() as run:
        await run.running()
        lab.say(*(record(offset) for offset in range(5)))
        await run.done(5)
        run.commit()
        lab.kafka.broker.cut_tail(topics.LOG, 0, 3)
        lab.say(record(10), record(11))
        await eventually(lambda: lab.seqs == [1, 2, 3, 4, 5, 11, 12])


async def test_a_log_that_has_lost_its_tail_and_has_grown_past_the_archiver_is_archived_again(
    lab: Lab,
) -> None:
    """Seed 19: the log was as long as before when somebody looked again."""
    async with lab.worker() as run:
        await run.running()
        lab.say(*(record(offset) for offset in range(3)))
        await run.done(3)
        lab.kafka.broker.cut_tail(topics.LOG, 0, 2)
        lab.kafka.broker.log(topics.LOG, 0).append(1000, entry(1, 4), None)  # nobody is told
        lab.say(entry(5, 6), entry(7, 8), entry(9, 9))
        await eventually(lambda: lab.seqs == list(range(1, 11)))


async def test_a_last_record_that_was_replaced_is_archived_although_nothing_follows(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agents.archiver.partition._LOOK_SECONDS", 0.05)
    lab.say(record(0))
    async with lab.worker() as run:
        await run.running()
        await run.done(1)
        lab.kafka.broker.log(topics.LOG, 0).cut(1)
        lab.kafka.broker.log(topics.LOG, 0).append(1000, entry(0, 4), None)
        await eventually(lambda: lab.seqs == [1, 2, 3, 4, 5])


async def test_looks_at_the_last_record_make_no_clients(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client costs Kafka more than the look."""
    monkeypatch.setattr("agents.archiver.partition._LOOK_SECONDS", 0.02)
    lab.say(record(0), record(1))
    async with lab.worker() as run:
        partition = await run.running()
        await run.done(2)
        make, made, looked = lab.kafka.reader, list[MemoryReader](), list[int]()
        look, inputs = partition.runtime.inputs.record, partition.runtime.inputs

        def reader(timeout: float = 30.0, group: str = "") -> MemoryReader:
            made.append(make(timeout, group))
            return made[-1]

        async def noted(topic: str, number: int, offset: int) -> Record:
            looked.append(offset)
            return await look(topic, number, offset)

        monkeypatch.setattr(lab.kafka, "reader", reader)
        monkeypatch.setattr(inputs, "record", noted)
        await eventually(lambda: len(looked) >= 5)
        assert set(looked) == {1}
        assert len(made) <= 1, "the first look at ends makes one"
        lab.kafka.broker.expire(topics.LOG, 0, 2)  # that is no other record
        seen = len(looked)
        await eventually(lambda: len(looked) >= seen + 5)
        assert (lab.seqs, partition.status) == ([1, 2], Status.RUNNING)


@pytest.mark.parametrize("before", range(1, 9))
async def test_records_that_were_replaced_while_nobody_read_are_archived(
    lab: Lab, before: int
) -> None:
    lab.say(*(record(offset) for offset in range(8)))
    async with lab.worker() as run:
        await run.running()
        await run.done(8)
        run.commit()
    lab.kafka.broker.cut_tail(topics.LOG, 0, before)
    first = 8 - before
    lab.say(*(entry(first + 2 * turn, first + 2 * turn + 1) for turn in range(before)))
    async with lab.worker() as run:
        await run.running()
        await eventually(lambda: lab.seqs == list(range(1, first + 2 * before + 1)))


async def test_a_record_ahead_in_the_log_is_archived_and_what_comes_later_too(lab: Lab) -> None:
    """R2: nothing was replaced. It is met twice, and not again and again."""
    async with lab.worker() as run:
        await run.running()
        lab.say(entry(0, 1), entry(4, 5), entry(2, 3), entry(4, 5), entry(6, 6))
        await eventually(lambda: lab.seqs == [1, 2, 3, 4, 5, 6, 7])
        await run.done(5)


async def test_an_idle_archiver_says_that_the_archive_is_away_and_that_it_is_back(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "ASK_SECONDS", 0.02)
    async with lab.worker() as run:
        await run.running()
        assert await run.health() == (200, [])
        lab.archive.away = "gone fishing"
        [problem] = await _problems(run, there=True)
        assert "clickhouse is unreachable" in problem
        assert problem.endswith("gone fishing")
        lab.archive.away = None
        await _problems(run, there=False)


async def _problems(run: Run, there: bool) -> list[str]:
    """Those of its health, once there are some, or none."""
    async with asyncio.timeout(60):
        while bool(problems := (await run.health())[1]) is not there:
            await asyncio.sleep(0.01)
    return problems


async def test_while_inserts_go_the_archive_is_not_asked_whether_it_is_there(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "ASK_SECONDS", 1000.0)
    asked: list[bool] = []

    async def answers() -> None:
        asked.append(True)

    monkeypatch.setattr(lab.archive, "answers", answers)
    async with lab.worker() as run:
        await run.running()
        ask = run.stage.spec.timers(run.stage)[-1].run
        await ask()
        await ask()
        assert len(asked) == 1, "nothing was inserted since the first look"
        lab.say(record(0))
        await run.done(1)
        await ask()
        assert len(asked) == 1, "an insert has shown that it is there"
        await ask()
        assert len(asked) == 2


async def test_small_blocks_go_in_one_insert_and_large_ones_alone() -> None:
    lab = Lab(partitions=3)
    async with lab.worker(MESSAGES._replace(linger=0.2)) as run:
        await eventually(lambda: not any(map(run.stage.paused, range(3))))
        for number, count in enumerate((1, 1, 2_000)):
            lab.say(record(0, count, partition=number), partition=number)
        await eventually(lambda: [run.stage.committable(number) for number in range(3)] == [1] * 3)
        tokens = sorted(
            sorted(part.rpartition("/")[0].partition("/")[2] for part in token.split(" messages"))
            for token in lab.archive.tokens
        )
        assert tokens == [["0/0-0", "1/0-0"], ["2/0-0"]]
        assert run.figures["rows"] == 2_002


async def test_what_was_refused_together_comes_again_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lab = Lab(partitions=3)
    whole = lab.archive.insert

    async def insert(rows: Sequence[Row], token: str) -> None:
        if any(row.conversation == "alice:bob0" for row in rows):
            raise ArchiveRefused("partition 0 brings what cannot be")
        await whole(rows, token)

    monkeypatch.setattr(lab.archive, "insert", insert)
    async with lab.worker(MESSAGES._replace(linger=0.2)) as run:
        await eventually(lambda: not any(map(run.stage.paused, range(3))))
        for number, count in enumerate((1, 1, 2_000)):
            lab.say(record(0, count, partition=number), partition=number)
        await eventually(
            lambda: [run.stage.committable(number) for number in range(3)] == [0, 1, 1]
        )
        assert "partition 0 brings what cannot be" in run.partition.retry.problem
