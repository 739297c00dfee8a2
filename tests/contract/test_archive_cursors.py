"""When messages were delivered and read, asked of a real ClickHouse: exact whatever came twice,
late or never."""

import datetime
import json
import random
import re
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from connectors.clickhouse.admin import ArchiveAdmin
from connectors.clickhouse.archive import ClickHouseArchive
from connectors.clickhouse.client import ClickHouseClient
from connectors.clickhouse.memory import MemoryArchive
from connectors.clickhouse.person import PersonArchive
from connectors.clickhouse.ports import ArchiveRefused
from schemas.archive import DELIVERED, READ, CursorRow, Row
from schemas.ids import members_of_valid
from tests.harness.clickhouse import ClickHouse

pytestmark = pytest.mark.real

DAY = 24 * 3600 * 1000
START = (int(time.time() * 1000) // DAY - 3) * DAY
"""The beginning of a day of the last week (UTC)."""
DOCUMENT = Path(__file__).parents[2] / "docs" / "ARCHIVE.md"


class Times(NamedTuple):
    """A row of `message_times`, times in ms."""

    conversation: str
    seq: int
    delivered: int | None
    read: int | None


@pytest.fixture
def admin(clickhouse: ClickHouse) -> Iterator[ArchiveAdmin]:
    """Of an empty archive."""
    made = ArchiveAdmin(clickhouse.url("admin"))
    for table in ("messages", "cursors"):
        made.run(f"TRUNCATE TABLE archive.{table}")
    yield made
    made.close()


@pytest.fixture
async def archive(clickhouse: ClickHouse) -> AsyncIterator[ClickHouseArchive]:
    made = ClickHouseArchive(ClickHouseClient(clickhouse.url("archiver"), 10))
    yield made
    await made.close()


@pytest.fixture
def analyst(clickhouse: ClickHouse) -> Iterator[ArchiveAdmin]:
    """Asks as user `analyst`."""
    made = ArchiveAdmin(clickhouse.url("analyst"))
    yield made
    made.close()


def message(seq: int, at: int, sender: str = "alice", conversation: str = "alice:bob") -> Row:
    return Row(
        conversation,
        seq,
        seq.to_bytes(16),
        sender,
        "phone",
        f"message {seq}",
        START + at,
        0,
        1,
        seq,
    )


def cursor(
    kind: str, up_to: int, at: int, user: str = "bob", conversation: str = "alice:bob"
) -> CursorRow:
    return CursorRow(conversation, user, kind, up_to, START + at)


def times(reader: ArchiveAdmin) -> list[Times]:
    text = (
        "SELECT conversation, seq, toUnixTimestamp64Milli(delivered), toUnixTimestamp64Milli(read) "
        "FROM archive.message_times ORDER BY conversation, seq"
    )
    return [Times(*row) for row in reader.query(text)]


def after_start(found: list[Times]) -> list[tuple[int | None, int | None]]:
    return [tuple(at if at is None else at - START for at in row[2:]) for row in found]  # type: ignore[misc]


@pytest.mark.parametrize("memory", [True, False])
async def test_a_cursor_that_comes_again_keeps_its_earliest_time(
    admin: ArchiveAdmin, archive: ClickHouseArchive, memory: bool
) -> None:
    kept = MemoryArchive()
    for number, at in enumerate((40, 20, 60)):
        rows = [cursor(DELIVERED, 7, at), cursor(READ, 7, at + number)]
        await (kept if memory else archive).insert_cursors(rows, f"token {number}")
    text = (
        "SELECT conversation, user, kind, up_to, toUnixTimestamp64Milli(time) FROM "
        "archive.exact_cursors"
    )
    found = (
        {(*place, at) for place, at in kept.cursors.items()} if memory else set(admin.query(text))
    )
    assert found == {cursor(DELIVERED, 7, 20), cursor(READ, 7, 21)}


async def test_one_cursor_stands_for_many_messages(
    admin: ArchiveAdmin, analyst: ArchiveAdmin, archive: ClickHouseArchive
) -> None:
    admin.insert([message(seq, seq) for seq in range(1, 7)])
    await archive.insert_cursors(
        [cursor(DELIVERED, 2, 50), cursor(DELIVERED, 5, 70), cursor(READ, 4, 90)], "one"
    )
    assert after_start(times(analyst)) == [
        (50, 90),
        (50, 90),
        (70, 90),
        (70, 90),
        (70, None),
        (None, None),
    ]
    advances = (
        "SELECT user, kind, after, up_to FROM archive.exact_cursors WHERE conversation = "
        "'alice:bob' ORDER BY kind, up_to"
    )
    assert analyst.query(advances) == [
        ("bob", DELIVERED, 0, 2),
        ("bob", DELIVERED, 2, 5),
        ("bob", READ, 0, 4),
    ]


async def test_only_what_the_recipient_says_after_it_was_sent_counts(
    admin: ArchiveAdmin, analyst: ArchiveAdmin, archive: ClickHouseArchive
) -> None:
    admin.insert([message(1, 1), message(2, 2, sender="bob"), message(3, 3), message(4, 100)])
    admin.insert([message(1, 1, conversation="alice:carol")])
    await archive.insert_cursors(
        [cursor(DELIVERED, 4, 20), cursor(DELIVERED, 4, 30, user="alice")], "one"
    )
    assert after_start(times(analyst)) == [
        (20, None),
        (30, None),
        (20, None),
        (None, None),
        (None, None),
    ]


async def test_repeats_in_any_order_and_month_change_nothing(
    admin: ArchiveAdmin, analyst: ArchiveAdmin, archive: ClickHouseArchive
) -> None:
    admin.insert([message(seq, seq) for seq in range(1, 5)])
    rows = [cursor(DELIVERED, seq, 10 * seq) for seq in range(1, 5)]
    await archive.insert_cursors(rows, "one")
    await archive.insert_cursors(rows, "one")
    await archive.insert_cursors(rows[:3], "killed before the commit, then other borders")
    await archive.insert_cursors(rows[2:], "the rest")
    later = [row._replace(time=row.time + 40 * DAY) for row in rows]
    await archive.insert_cursors(later, "an owner without its table and its topic heard them again")
    for _ in range(2):
        assert after_start(times(analyst)) == [(10, None), (20, None), (30, None), (40, None)]
        assert analyst.query("SELECT count(), sum(up_to - after) FROM archive.exact_cursors") == [
            (4, 4)
        ]
        admin.run("OPTIMIZE TABLE archive.cursors FINAL")
    assert admin.lacking([*rows, *later, cursor(READ, 4, 40)]) == [cursor(READ, 4, 40)]


async def test_cursors_that_compaction_took_make_times_later_and_lose_none(
    admin: ArchiveAdmin, analyst: ArchiveAdmin, archive: ClickHouseArchive
) -> None:
    chance = random.Random(5)
    admin.insert([message(seq, seq) for seq in range(1, 101)])
    rows = [cursor(DELIVERED, seq, 10 * seq) for seq in range(1, 101)]
    kept = [row for row in rows if row.up_to == 100 or chance.random() < 0.2]
    await archive.insert_cursors(kept, "compacted")
    thin = after_start(times(analyst))
    await archive.insert_cursors(rows, "whole")
    for (late, _), (exact, _) in zip(thin, after_start(times(analyst)), strict=True):
        assert late is not None
        assert exact is not None
        assert late >= exact


async def test_who_has_read_has_received(
    admin: ArchiveAdmin, analyst: ArchiveAdmin, archive: ClickHouseArchive
) -> None:
    admin.insert([message(1, 1), message(2, 2), message(3, 50)])
    rows = [cursor(DELIVERED, 9, 20), cursor(READ, 1, 10), cursor(READ, 3, 60)]
    await archive.insert_cursors(rows, "a raise lost by compaction, and a claim")
    assert after_start(times(analyst)) == [(10, 10), (20, 60), (60, 60)]


async def test_random_conversations_are_as_counted_by_hand(
    admin: ArchiveAdmin, analyst: ArchiveAdmin, archive: ClickHouseArchive
) -> None:
    chance = random.Random(7)
    messages, cursors = [], []
    for number in range(40):
        conversation = f"alice{number}:bob{number % 3}"
        users, now = members_of_valid(conversation), chance.randrange(70 * DAY)
        for seq in range(1, chance.randrange(2, 60)):
            now += chance.randrange(1000)
            messages.append(message(seq, now, chance.choice(users), conversation))
            for user in users:
                for kind, share in ((DELIVERED, 0.5), (READ, 0.2)):
                    if chance.random() < share:
                        cursors.append(cursor(kind, seq, now + 1, user, conversation))
    admin.insert(messages)
    shuffled = cursors + chance.choices(cursors, k=len(cursors))
    chance.shuffle(shuffled)
    for start in range(0, len(shuffled), 100):
        await archive.insert_cursors(shuffled[start : start + 100], f"block {start}")

    def known(row: Row, *kinds: str) -> int | None:
        (recipient,) = set(members_of_valid(row.conversation)) - {row.sender}
        reaching = [
            c
            for c in cursors
            if c[:2] == (row.conversation, recipient) and c.kind in kinds and c.up_to >= row.seq
        ]
        return min((c.time for c in reaching), default=None)

    expected = [
        Times(row.conversation, row.seq, known(row, DELIVERED, READ), known(row, READ))
        for row in sorted(messages)
    ]
    assert times(analyst) == expected
    print(f"{len(messages)} messages, {len(cursors)} cursors")


async def test_every_query_of_the_documentation_runs_and_the_latencies_are_right(
    admin: ArchiveAdmin, analyst: ArchiveAdmin, archive: ClickHouseArchive
) -> None:
    blocks = re.findall(r"((?:^    (?!curl).*\n)+)", DOCUMENT.read_text(), re.MULTILINE)
    queries = [block for block in blocks if "SELECT" in block]
    assert len(queries) >= 5
    # a day of 100 messages, delivered after 1..100 ms, of which half is read 1 s later
    admin.insert([message(seq, seq * 1000) for seq in range(1, 101)])
    await archive.insert_cursors(
        [cursor(DELIVERED, seq, seq * 1000 + seq) for seq in range(1, 101)], "delivered"
    )
    await archive.insert_cursors(
        [cursor(READ, seq, seq * 1000 + 1000 + seq) for seq in range(1, 51)], "read"
    )
    answers: dict[str, list[tuple[Any, ...]]] = {query: analyst.query(query) for query in queries}
    (latencies,) = (answer for query, answer in answers.items() if "read_p99" in query)
    ((day, *figures),) = latencies
    assert (day, figures) == (
        datetime.datetime.fromtimestamp(START / 1000, datetime.UTC).date(),
        [100, 100, 50, 51, 100, 1026, 1050],
    )


async def test_who_may_write_cursors(clickhouse: ClickHouse, archive: ClickHouseArchive) -> None:
    for user in ("gateway", "analyst"):
        other = ClickHouseArchive(ClickHouseClient(clickhouse.url(user), 5))
        with pytest.raises(ArchiveRefused, match=r"497|164"):
            await other.insert_cursors([cursor(READ, 1, 1)], "forbidden")
        await other.close()
    await archive.insert_cursors([cursor(READ, 1, 1)], "allowed")


class CountedArchive(PersonArchive):
    asked = 0

    def _lines(self, query: str, user: str, conversations: Sequence[str]) -> Iterator[bytes]:
        self.asked += 1
        return super()._lines(query, user, conversations)


async def test_a_person_s_data_comes_in_order_and_with_few_questions(
    admin: ArchiveAdmin, archive: ClickHouseArchive, clickhouse: ClickHouse
) -> None:
    """One conversation is too long to be asked for with others."""
    admin.run("TRUNCATE TABLE archive.user_conversations")
    lengths = {f"alice:m{number:02}": 1 + number % 3 for number in range(60)}
    lengths |= {"alice:m30": 2500, "aaron:alice": 2, "alice:bob": 0}
    await archive.insert(
        [
            message(seq, seq, "alice", conversation)
            for conversation, length in lengths.items()
            for seq in range(length, 0, -1)
        ],
        "export, messages",
    )
    await archive.insert_cursors(
        [
            cursor(kind, up_to, 5, user, conversation)
            for conversation in lengths
            for kind in (READ, DELIVERED)
            for up_to in (2, 1)
            for user in ("alice", "m01")
        ],
        "export, cursors",
    )
    person = CountedArchive(clickhouse.url("admin"))
    found = [json.loads(line) for line in b"".join(person.export("alice")).splitlines()]
    person.close()
    assert [
        (one["conversation"], one["kind"], one.get("seq", one.get("up_to"))) for one in found
    ] == [
        (conversation, kind, number)
        for conversation, length in sorted(lengths.items())
        if length
        for kind, last in (("message", length), (DELIVERED, 2), (READ, 2))
        for number in range(1, last + 1)
    ]
    assert person.asked == 6, "before the long one, the long one, and after it"
