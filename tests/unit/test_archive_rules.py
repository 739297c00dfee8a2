"""What goes into the archive and in what blocks; migrations; the comparison with the log;
months."""

import datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.rules.archive import (
    MAX_BYTES,
    MAX_ROWS,
    RECORD_BYTES,
    Gathering,
    cursor_rows,
    message_rows,
)
from ops.archive.compare import compare_rows
from ops.archive.months import first_kept
from schemas import archive
from schemas.archive import DELIVERED, ERASURE, READ, CursorRow, Row, migrations
from schemas.events import READ as READ_CURSOR
from schemas.events import RECEIVED, SCHEMA_VERSION, CursorRecord, Taken
from streams.inputs import Start, start_at

LINGER = 0.7


def row(seq: int, body: str = "hi") -> Row:
    return Row("alice:bob", seq, bytes(16), "alice", "phone", body, 1000 + seq, 0, 1, 7)


def test_a_message_is_a_row_and_a_refusal_is_none() -> None:
    message = Taken(5, 1001, "alice:bob", "alice", "phone", b"o" * 16, 1, b"k" * 16, 1, 0, "hi")
    refusal = Taken(6, 1002, "alice:bob", "alice", "phone", b"o" * 16, 2, b"l" * 16, 0, 110, "")
    assert message_rows(3, 9, [message, refusal]) == [
        Row("alice:bob", 1, b"k" * 16, "alice", "phone", "hi", 1001, 0, 3, 9)
    ]


@pytest.mark.parametrize(
    ("device", "seq", "kinds"),
    [(RECEIVED, 7, [DELIVERED]), (READ_CURSOR, 7, [READ]), ("phone", 7, []), (READ_CURSOR, 0, [])],
)
def test_a_user_who_has_received_or_read_is_a_row_and_a_device_or_nothing_is_none(
    device: str, seq: int, kinds: list[str]
) -> None:
    record = CursorRecord(SCHEMA_VERSION, "alice:bob", "bob", device, seq, 1001)
    assert cursor_rows(record) == [CursorRow("alice:bob", "bob", kind, 7, 1001) for kind in kinds]


@pytest.mark.parametrize(
    ("committed", "start", "end", "expected"),
    [
        (None, 0, 0, Start(0, 0)),
        (None, 40, 90, Start(40, 0)),  # a new archive beside an old log
        (60, 0, 90, Start(60, 0)),
        (90, 0, 90, Start(90, 0)),
        (10, 40, 90, Start(40, 30)),  # away for longer than the log is kept
        (91, 0, 90, Start(0, 0)),  # the log has lost its tail
    ],
)
def test_where_a_stage_goes_on(
    committed: int | None, start: int, end: int, expected: Start
) -> None:
    assert start_at(committed, start, end) == expected


def test_a_block_waits_for_company_but_not_for_long_and_all_partitions_are_due_together() -> None:
    gathering = Gathering[Row](LINGER)
    assert gathering.due(0.0) == float("inf")
    assert gathering.add(0, b"a" * 100, [row(1)], now=5.0) == 100 + RECORD_BYTES
    other = Gathering[Row](LINGER)
    other.add(0, b"a", [row(1)], now=5.3)
    tick = 8 * LINGER
    assert 5.3 + gathering.due(5.3) == pytest.approx(tick) == pytest.approx(5.3 + other.due(5.3))
    gathering.add(1, b"b" * 100, [row(2)], now=5.5)
    assert 5.5 + gathering.due(5.5) == pytest.approx(tick)
    assert gathering.due(tick + 0.001) == 0
    block = gathering.take(6.0)
    assert (block.first, block.last, block.bytes, [r.seq for r in block.rows]) == (
        0,
        1,
        200 + 2 * RECORD_BYTES,
        [1, 2],
    )
    assert gathering.due(6.0) == float("inf")


def block_token(topic: str, partition: int, first: int, *values: bytes) -> str:
    gathering = Gathering[Row](LINGER)
    for offset, value in enumerate(values, first):
        gathering.add(offset, value, [], now=0.0)
    return gathering.take(0.0).token(topic, partition)


def test_a_block_that_comes_again_has_its_token_and_no_other_has() -> None:
    assert block_token("id", 3, 5, b"one", b"two") == block_token("id", 3, 5, b"one", b"two")
    others = [
        block_token("id", 3, 5, b"one", b"two"),
        block_token("another", 3, 5, b"one", b"two"),
        block_token("id", 4, 5, b"one", b"two"),
        block_token("id", 3, 6, b"one", b"two"),
        block_token("id", 3, 5, b"one", b"other"),
        block_token("id", 3, 5, b"two", b"one"),
        block_token("id", 3, 5, b"one"),
    ]
    assert len(set(others)) == len(others)


def test_a_record_without_rows_moves_the_position_too() -> None:
    gathering = Gathering[Row](LINGER)
    gathering.add(4, b"refused", [], now=0.0)
    assert gathering.due(LINGER) == 0
    block = gathering.take(1.0)
    assert (block.first, block.last, block.rows) == (4, 4, [])


def test_full_blocks_go_at_once() -> None:
    for rows, size in ((MAX_ROWS, 1), (1, MAX_BYTES)):
        gathering = Gathering[Row](LINGER)
        gathering.add(0, bytes(size), [row(1)] * rows, now=0.0)
        assert gathering.due(0.0) == 0


@given(
    st.lists(
        st.tuples(st.integers(0, MAX_ROWS + 500), st.integers(1, MAX_BYTES + 500)),
        min_size=1,
        max_size=30,
    )
)
def test_blocks_are_the_log_in_order_bounded_and_whole(records: list[tuple[int, int]]) -> None:
    gathering, one = Gathering[Row](LINGER), row(1)
    for offset, (count, size) in enumerate(records):
        gathering.add(offset, bytes(size), [one] * count, now=0.0)
    blocks, now = [], 0.0
    while gathering.due(now) < float("inf"):
        now += gathering.due(now)
        blocks.append(gathering.take(now))
    assert (gathering.count, gathering.bytes) == (0, 0)
    assert [blocks[0].first, blocks[-1].last] == [0, len(records) - 1]
    assert all(after.first == before.last + 1 for before, after in pairwise(blocks))
    for block in blocks:
        inside = records[block.first : block.last + 1]
        held = sum(size + RECORD_BYTES for _, size in inside)
        assert (len(block.rows), block.bytes) == (sum(count for count, _ in inside), held)
        assert len(inside) == 1 or (len(block.rows) <= MAX_ROWS and block.bytes <= MAX_BYTES)


def test_migrations_are_numbered_say_whether_they_block_and_may_be_repeated() -> None:
    found = migrations()
    assert [migration.number for migration in found] == list(range(1, len(found) + 1))
    for migration in found:
        assert migration.blocks.startswith(("no", "yes")), migration.name
        for statement in migration.statements:
            verb = statement.split()[0]
            repeatable = (
                "IF NOT EXISTS" in statement or "IF EXISTS" in statement or verb == "INSERT"
            )
            repeatable = repeatable or "MODIFY " in statement or "OR REPLACE" in statement
            assert repeatable, f"{migration.name}: {statement[:60]}"


def test_a_migration_that_does_not_say_whether_it_blocks_is_refused() -> None:
    with pytest.raises(ValueError, match="blocks"):
        archive._migration("0009_wrong.sql", "-- only words\nSELECT 1;\n")


def test_the_comparison_names_what_is_missing_twice_and_different() -> None:
    expected = [row(seq) for seq in range(1, 7)]
    found = [
        row(1)._replace(log_partition=2, log_offset=99),  # a repeat may have come by another record
        row(2),
        row(2)._replace(time=9),
        row(3, body="other"),
        row(4)._replace(version=ERASURE, body=""),
        row(6)._replace(sender="bob"),
    ]
    compared = compare_rows(expected, found)
    assert [r.seq for r in compared.missing] == [5]
    assert [r.seq for r in compared.twice] == [2]
    assert [r.seq for r in compared.different] == [3, 6]


def test_months_that_retention_keeps() -> None:
    day = datetime.date
    assert first_kept(day(2026, 11, 25), 2) == "202609"
    assert first_kept(day(2026, 1, 1), 2) == "202511"
    assert first_kept(day(2026, 3, 31), 24) == "202403"
