"""The index of the log by number, in a real RocksDB, and what is answered from it."""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from agents.sequencer.log_applier import LogApplier
from agents.sequencer.log_pages import RecordCache, spans
from agents.sequencer.queries import (
    SLICE,
    Page,
    TableGone,
    TakenByConversation,
    by_conversation,
    find_heads,
    find_newest,
    read_page,
)
from connectors.kafka.ports import OffsetGone
from connectors.kafka.record import Record
from gateway.queries.conversations import merge_heads
from schemas.codec import decode_server_frames, encode_event, join_frames
from schemas.events import SCHEMA_VERSION, LogRecord, Taken
from schemas.frames import MAX_HEADS, MAX_PAGE_MESSAGES, Message
from schemas.worker_api import RangeGone
from streams.tables.rocks import RocksBudget
from streams.tables.sequences import Header, SequenceTable

A, B = "alice:bob", "alice:carol"


class Log:
    """Log records in a list, folded into a state as they come."""

    def __init__(self, folder: Path) -> None:
        self.state = SequenceTable(folder, RocksBudget(1 << 20, 1 << 20))
        self._fold = LogApplier(self.state, Header("log", "input"))
        self._records: list[Record] = []
        self._seqs: dict[str, int] = {}
        self.start = 0
        self.time = 5
        self.read: list[int] = []

    def add(self, *conversations: str, body: str = "hi") -> None:
        """One record with a message of each."""
        offset = len(self._records)
        taken = []
        for place, conversation in enumerate(conversations):
            seq = self._seqs[conversation] = self._seqs.get(conversation, 0) + 1
            taken.append(
                Taken(
                    offset,
                    self.time,
                    conversation,
                    "alice",
                    "phone",
                    b"o" * 16,
                    seq,
                    place.to_bytes(16, "big"),
                    seq,
                    0,
                    body,
                )
            )
        entry = LogRecord(SCHEMA_VERSION, 1, offset, offset, self.time, -1, 5, 0, taken)
        record = Record(0, offset, 5, encode_event(entry))
        self._records.append(record)
        self._fold.read(record)

    def write(self) -> None:
        self._fold.write(-1, 0)

    async def read_records(self, offsets: Sequence[int]) -> list[TakenByConversation]:
        self.read += offsets
        if offsets and offsets[0] < self.start:
            raise OffsetGone("expired")
        return [by_conversation(self._records[offset]) for offset in offsets]


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    made = Log(tmp_path / "state")
    yield made
    made.state.close()


def seqs(page: Page) -> list[int]:
    return [
        frame.seq
        for frame in decode_server_frames(join_frames(page.frames))
        if isinstance(frame, Message)
    ]


async def test_pages_come_from_the_records_that_hold_them_and_from_no_other(log: Log) -> None:
    for number in range(50):
        log.add(*[A] * 5 if number % 2 else [B])
    log.write()
    page = await read_page(log.state, log, A, 7, 10)
    assert (seqs(page), page.known) == (list(range(8, 18)), 125)
    assert log.read == [3, 5, 7], "messages 6-10, 11-15, 16-20"
    assert seqs(await read_page(log.state, log, A, 120, 100)) == [121, 122, 123, 124, 125]
    assert seqs(await read_page(log.state, log, A, 0, 1000)) == list(
        range(1, MAX_PAGE_MESSAGES + 1)
    )
    assert await read_page(log.state, log, A, 125, 10) == Page(125, [])
    assert await read_page(log.state, log, "alice:zoe", 0, 10) == Page(0, [])


@pytest.mark.parametrize("every", [1, 3, 1000])
async def test_however_the_index_was_written_every_page_is_right(log: Log, every: int) -> None:
    for number in range(60):
        log.add(*[A] * (number % 4), *[B] * (number % 3))
        if number % every == 0:
            log.write()
    log.write()
    for conversation in (A, B):
        known = log.state.seq(conversation)
        for after in range(known):
            for limit in (1, 7):
                page = await read_page(log.state, log, conversation, after, limit)
                assert seqs(page) == list(range(after + 1, min(after + limit, known) + 1))


async def test_what_the_log_has_let_go_is_gone(log: Log) -> None:
    for _ in range(10):
        log.add(A)
    log.write()
    log.start = 5
    with pytest.raises(RangeGone):
        await read_page(log.state, log, A, 3, 10)
    assert seqs(await read_page(log.state, log, A, 5, 10)) == [6, 7, 8, 9, 10]


async def test_a_page_is_bounded_by_bytes_but_never_empty(log: Log) -> None:
    for _ in range(20):
        log.add(A, body="x" * 16_000)
    log.write()
    page = await read_page(log.state, log, A, 0, 100)
    assert seqs(page) == [1, 2, 3, 4, 5, 6, 7, 8]


async def test_places_of_expired_records_are_swept_away_a_few_at_a_time(log: Log) -> None:
    for _ in range(6):
        log.add(A, B)
        log.write()
    log.state.sweep(0, 100)
    assert log.state.places(A, 0, 10) == [0, 1, 2, 3, 4, 5], "nothing has expired"
    log.start = 4
    for _ in range(4):
        log.state.sweep(4, 4)
    assert log.state.places(A, 0, 10) == log.state.places(B, 0, 10) == [4, 5]
    assert seqs(await read_page(log.state, log, B, 4, 10)) == [5, 6]
    with pytest.raises(RangeGone):
        await read_page(log.state, log, B, 3, 10)
    log.add(A)
    log.write()
    log.state.sweep(4, 1)
    assert log.state.places(A, 0, 10) == [4, 5, 6]


def test_outboxes_that_were_silent_for_long_are_swept_away_a_few_at_a_time(log: Log) -> None:
    def outbox(conversation: str) -> tuple[str, str, bytes]:
        return conversation, "alice", b"o" * 16

    for _ in range(20):
        log.add(A, B)
    log.write()
    for log.time in (1000, 1100):
        log.add(B)
        log.write()
        assert log.state.last(outbox(A)) == (20, 5), "not yet"
        for _ in range(3):
            log.state.sweep_outboxes(995, 1)
    assert log.state.last(outbox(A)) is None
    assert [log.state.answer(outbox(A), ordinal) for ordinal in range(1, 21)] == [None] * 20
    assert log.state.last(outbox(B)) == (22, 1100)
    answer = log.state.answer(outbox(B), 20)
    assert answer is not None
    assert answer[1] == 20
    assert log.state.seq(A) == 20, "a conversation's numbers go on"


async def heads(
    log: Log, user: str, after: str = "", until: str = "", **cursors: int
) -> dict[str, int]:
    named = {name.replace("_", ":"): cursor for name, cursor in cursors.items()}
    return await find_heads(log.state, lambda: False, user, (after, until), named)


async def test_the_loop_goes_on_while_many_conversations_are_walked(log: Log) -> None:
    """10,000 conversations took 32 ms in one go."""
    names = [f"alice:u{number:05}" for number in range(5 * SLICE)]
    log.add(*names)
    log.write()
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    await asyncio.sleep(0)
    walks = (
        find_heads(log.state, lambda: False, "alice", ("", ""), dict.fromkeys(names, 1)),
        find_newest(log.state, lambda: False, "alice", 3, None),
    )
    for walk in walks:
        before = turns
        found = await walk
        assert turns - before >= 4
        assert len(found) in (0, 3)
    counting.cancel()
    with pytest.raises(TableGone):
        await find_newest(log.state, lambda: True, "alice", 3, None)


async def test_heads_are_those_of_the_users_own_conversations(log: Log) -> None:
    log.add(A, B, A, "aaron:bob", "alic:zoe")
    log.add(B, "bob:zoe")
    log.write()
    assert await heads(log, "alice") == {A: 2, B: 2}
    assert await heads(log, "alice", alice_bob=2, alice_carol=1) == {B: 2}
    assert await heads(log, "alice", after=A) == {B: 2}
    assert await heads(log, "alice", until=A) == {A: 2}
    assert await heads(log, "bob") == {"aaron:bob": 1, A: 2, "bob:zoe": 1}
    assert await heads(log, "ali") == {}


def test_many_heads_are_cut_and_asked_on() -> None:
    names = [f"alice:u{number:05}" for number in range(MAX_HEADS * 2)]
    short, cut = dict.fromkeys(names[1::20], 1), dict.fromkeys(names[::2][:MAX_HEADS], 1)
    merged = merge_heads(7, [short, cut, {}], pending=False)
    assert len(merged.heads) == MAX_HEADS
    assert merged.next == max(merged.heads)
    assert set(merged.heads) == {name for name in {**short, **cut} if name <= merged.next}
    assert not merged.pending
    few = merge_heads(7, [{"alice:bob": 1}, {"alice:amy": 2}], pending=True)
    assert few.next == ""
    assert few.pending


def test_records_close_together_are_read_in_one_go() -> None:
    assert spans([]) == []
    assert spans([3]) == [(3, 4)]
    assert spans([3, 5, 50, 500]) == [(3, 51), (500, 501)]


def test_the_cache_keeps_what_was_asked_for_last_within_its_budget(log: Log) -> None:
    for number in range(4):
        log.add(A, body=f"{number}" * 1000)
    records = log._records
    cache = RecordCache(budget=sum(len(record.value) for record in records[:3]))
    for record in records[:3]:
        for _ in range(2):
            cache.put(0, record.offset, by_conversation(record), len(record.value))
        found = cache.get(0, record.offset)
        assert found is not None
        assert [item.body for item in found[A]] == [f"{record.offset}" * 1000]
    assert cache.get(0, 0) is not None
    cache.put(0, 3, by_conversation(records[3]), len(records[3].value))
    assert [cache.get(0, offset) is not None for offset in range(4)] == [True, False, True, True]
    assert cache.get(1, 0) is None
