"""The archive port: one suite, in memory and on a real ClickHouse."""

import asyncio
import gc
import itertools
import time
import weakref
from collections.abc import AsyncIterator, Sequence

import pytest

from connectors.clickhouse.admin import ArchiveAdmin, ArchiveNewer
from connectors.clickhouse.archive import ClickHouseArchive
from connectors.clickhouse.client import Address, ClickHouseClient
from connectors.clickhouse.memory import MemoryArchive
from connectors.clickhouse.ports import (
    Archive,
    ArchivedMessage,
    ArchiveMismatch,
    ArchiveRefused,
    ArchiveUnavailable,
)
from schemas.archive import DELETION, ERASURE, READ, CursorRow, Row, migrations
from schemas.numbering import Numbering
from tests.harness.clickhouse import ClickHouse
from tests.harness.ports import free_base_port
from tests.harness.proxy import Proxy

pytestmark = pytest.mark.real

DAY = 24 * 3600 * 1000
START = 1_790_000_000_000
TABLES = ("messages", "user_conversations", "numbering", "dropped", "made_for")
ONE = Numbering("one", "log", 4, 1)
_tokens = (f"token {number}" for number in itertools.count())


@pytest.fixture(params=["memory", "clickhouse"])
async def archive(request: pytest.FixtureRequest) -> AsyncIterator[Archive]:
    if request.param == "memory":
        yield MemoryArchive()
        return
    server: ClickHouse = request.getfixturevalue("clickhouse")
    for table in TABLES:
        assert server.ask("admin", f"TRUNCATE TABLE archive.{table}") == ""
    real = ClickHouseArchive(ClickHouseClient(server.url("archiver"), 10))
    yield real
    await real.close()


def row(
    seq: int, conversation: str = "alice:bob", body: str = "", time: int = 0, version: int = 0
) -> Row:
    sender = conversation.split(":")[seq % 2]
    text = body or f"message {seq}"
    return Row(
        conversation,
        seq,
        seq.to_bytes(16),
        sender,
        "phone",
        text,
        START + (time or seq),
        version,
        1,
        100 + seq,
    )


async def put(archive: Archive, *rows: Row) -> None:
    await archive.insert(rows, next(_tokens))


async def test_what_was_inserted_is_read_at_once_and_whole(archive: Archive) -> None:
    text = "Grüße – 👋\n\0 'quoted' \\ \t"
    await put(archive, row(1, body=text), row(2))
    first, second = await archive.page("alice:bob", after=0, limit=10)
    head = "alice:bob", 1, (1).to_bytes(16), "bob", "phone", START + 1, text
    assert first == ArchivedMessage(*head, changes=0, version=0, erased=False)
    assert (second.seq, second.body) == (2, "message 2")


async def test_pages_run_both_ways_and_end_at_their_limit(archive: Archive) -> None:
    await put(archive, *(row(seq) for seq in range(1, 31)))
    await put(archive, *(row(seq, "alice:carol") for seq in range(1, 6)))
    assert [m.seq for m in await archive.page("alice:bob", before=31, limit=3)] == [30, 29, 28]
    assert [m.seq for m in await archive.page("alice:bob", before=3, limit=10)] == [2, 1]
    assert [m.seq for m in await archive.page("alice:bob", after=28, limit=10)] == [29, 30]
    assert [m.seq for m in await archive.page("alice:bob", after=0, limit=2)] == [1, 2]
    assert list(await archive.page("alice:bob", before=1, limit=10)) == []
    assert list(await archive.page("alice:bob", after=30, limit=10)) == []
    assert list(await archive.page("bob:nobody", before=100, limit=10)) == []


async def test_a_number_that_is_not_there_is_missing_and_nothing_moves_up(archive: Archive) -> None:
    await put(archive, *(row(seq) for seq in (1, 2, 3, 5, 6)))
    assert [m.seq for m in await archive.page("alice:bob", before=7, limit=3)] == [6, 5]
    assert [m.seq for m in await archive.page("alice:bob", after=1, limit=3)] == [2, 3]


async def test_repeats_are_read_once_however_they_come(archive: Archive) -> None:
    rows = [row(seq) for seq in range(1, 11)]
    await archive.insert(rows, "the same")
    await archive.insert(rows, "the same")
    await put(archive, *rows[3:])
    await put(archive, *rows[:7])
    assert [m.seq for m in await archive.page("alice:bob", after=0, limit=50)] == list(range(1, 11))
    assert await archive.last_seq("alice:bob") == 10


async def test_messages_of_many_months_in_one_block(archive: Archive) -> None:
    rows = [row(seq, time=seq * 40 * DAY) for seq in range(1, 13)]
    await put(archive, *rows)
    await put(archive, *rows)
    assert [m.seq for m in await archive.page("alice:bob", before=13, limit=50)] == list(
        range(12, 0, -1)
    )


async def test_an_erasure_wins_over_its_message_whichever_comes_last(archive: Archive) -> None:
    await put(archive, row(1), row(2))
    await put(archive, row(1)._replace(body="", version=ERASURE))
    await put(archive, row(1))
    first, second = await archive.page("alice:bob", after=0, limit=10)
    assert (first.erased, first.body) == (True, "")
    assert (second.erased, second.body) == (False, "message 2")


async def test_the_last_change_counts_and_a_deletion_is_final(archive: Archive) -> None:
    """Rows may come again and in any order. A change shows what its message shows."""
    changes = row(3)._replace(changes=1, body=""), row(4)._replace(changes=1, body="")
    edited = row(1)._replace(body="later", version=4), row(1)._replace(body="first", version=3)
    await put(archive, row(1), row(2), *changes, *edited, row(1))
    first, second, *shown = [(m.seq, m.body, m.version, m.erased) for m in await _page(archive)]
    assert first == (1, "later", 4, False)
    assert second == (2, "message 2", 0, False)
    assert shown == [(3, "later", 4, False), (4, "later", 4, False)]
    await put(archive, row(1)._replace(body="", version=DELETION + 5))
    await put(archive, row(1)._replace(body="too late", version=6))
    said = [(m.body, m.version, m.erased) for m in await _page(archive) if m.seq != 2]
    assert said == [("", 5, True)] * 3


async def _page(archive: Archive) -> Sequence[ArchivedMessage]:
    return await archive.page("alice:bob", after=0, limit=10)


async def test_the_first_and_the_last_number(archive: Archive) -> None:
    await put(archive, row(3), row(4), row(1, "alice:carol"))
    assert (await archive.first_seq("alice:bob"), await archive.last_seq("alice:bob")) == (3, 4)
    assert (await archive.first_seq("alice:nobody"), await archive.last_seq("alice:nobody")) == (
        0,
        0,
    )


async def test_an_archive_holds_one_numbering_of_one_number_of_partitions(
    archive: Archive,
) -> None:
    await archive.prepare(ONE)
    await archive.prepare(ONE)
    with pytest.raises(ArchiveMismatch, match="two"):
        await archive.prepare(ONE._replace(input_topic="two"))
    with pytest.raises(ArchiveMismatch, match="was made for 4 partitions"):
        await archive.prepare(ONE._replace(partitions=8))
    # a log that was folded again from the same input, by newer code
    await archive.prepare(ONE._replace(log_topic="another log", fold_version=2))
    await archive.prepare(ONE)


async def test_many_pages_at_once_each_gets_its_own(archive: Archive) -> None:
    names = [f"alice:user{n}" for n in range(7)]
    for name in names:
        await put(archive, *(row(seq, name) for seq in range(1, 41)))
    await put(archive, *(row(seq, names[0]) for seq in range(10, 20)))
    asked = [
        (name, before, limit)
        for name in names
        for before in (5, 12, 41, 60)
        for limit in (1, 7, 50)
    ]
    pages = await asyncio.gather(
        *(archive.page(name, before=before, limit=limit) for name, before, limit in asked)
    )
    for (name, before, limit), page in zip(asked, pages, strict=True):
        assert [(m.conversation, m.seq) for m in page] == [
            (name, seq) for seq in range(before - 1, max(0, before - 1 - limit), -1) if seq <= 40
        ]


async def test_what_is_gone_for_good_is_known(
    archive: Archive, request: pytest.FixtureRequest
) -> None:
    assert not await archive.has_dropped()
    if isinstance(archive, MemoryArchive):
        archive.dropped = True
    else:
        admin = ArchiveAdmin(request.getfixturevalue("clickhouse").url("admin"))
        await asyncio.to_thread(admin.say_dropped, "202001")
        admin.close()
    assert await archive.has_dropped()


async def test_it_says_that_it_is_there(archive: Archive) -> None:
    await archive.answers()
    await archive.answers()


# ClickHouse alone


async def test_it_answers_nobody_that_it_does_not_let_in_or_cannot_hear(
    clickhouse: ClickHouse,
) -> None:
    wrong = ClickHouseArchive(
        ClickHouseClient(f"http://gateway:wrong@127.0.0.1:{clickhouse.port}", 5)
    )
    for _ in range(2):
        with pytest.raises(ArchiveRefused, match="516"):
            await wrong.answers()
    await wrong.close()
    with Proxy(clickhouse.port) as proxy:
        url = clickhouse.url("gateway").replace(str(clickhouse.port), str(proxy.port))
        archive = ClickHouseArchive(ClickHouseClient(url, 1))
        await archive.answers()
        proxy.reset()
        await archive.answers()
        proxy.pause()
        with pytest.raises(ArchiveUnavailable, match="ClickHouse at"):
            await archive.answers()
        proxy.resume()
        await archive.close()


async def test_a_users_conversations_are_asked_in_sql(clickhouse: ClickHouse) -> None:
    for table in TABLES:
        assert clickhouse.ask("admin", f"TRUNCATE TABLE archive.{table}") == ""
    archive = ClickHouseArchive(ClickHouseClient(clickhouse.url("archiver"), 10))
    for _ in range(2):
        await put(
            archive,
            *(row(seq) for seq in range(1, 4)),
            row(1, "alice:carol", time=9),
            row(1, "bob:carol"),
        )
    await archive.close()
    found = clickhouse.ask(
        "analyst",
        "SELECT conversation, max(seq), toUnixTimestamp64Milli(max(time)) FROM "
        "archive.user_conversations "
        "WHERE user = 'alice' GROUP BY conversation ORDER BY conversation",
    )
    assert found.splitlines() == [f"alice:bob\t3\t{START + 3}", f"alice:carol\t1\t{START + 9}"]


async def test_an_archive_away_is_said_so_soon() -> None:
    archive = ClickHouseArchive(ClickHouseClient("http://archiver:x@127.0.0.1:1", 5))
    for question in (
        archive.page("a:b", before=5, limit=3),
        archive.insert([row(1)], "t"),
        archive.insert_cursors([CursorRow("a:b", "a", READ, 1, START)], "t"),
        archive.last_seq("a:b"),
        archive.prepare(ONE),
    ):
        began = time.monotonic()
        with pytest.raises(ArchiveUnavailable, match="ClickHouse at"):
            await question
        assert time.monotonic() - began < 4
    await archive.close()


async def test_pages_go_together_and_fail_together_and_nobody_hangs() -> None:
    archive = ClickHouseArchive(ClickHouseClient("http://archiver:x@127.0.0.1:1", 5))
    answers = await asyncio.gather(
        *(archive.page("a:b", before=5, limit=3) for _ in range(50)), return_exceptions=True
    )
    assert all(isinstance(answer, ArchiveUnavailable) for answer in answers)
    waiting = [asyncio.create_task(archive.page("a:b", before=5, limit=3)) for _ in range(50)]
    await asyncio.sleep(0)
    await archive.close()
    async with asyncio.timeout(5):
        ended = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(answer, ArchiveUnavailable | asyncio.CancelledError) for answer in ended)


async def test_an_archive_that_does_not_answer_is_unavailable() -> None:
    port = free_base_port()
    writers: list[asyncio.StreamWriter] = []
    async with await asyncio.start_server(
        lambda _, writer: writers.append(writer), "127.0.0.1", port
    ):
        archive = ClickHouseArchive(ClickHouseClient(f"http://archiver:x@127.0.0.1:{port}", 0.5))
        with pytest.raises(ArchiveUnavailable):
            await archive.last_seq("a:b")
        await archive.close()
        for writer in writers:
            writer.close()
            await writer.wait_closed()


async def test_what_an_operator_must_mend_is_refused(clickhouse: ClickHouse) -> None:
    wrong = ClickHouseArchive(
        ClickHouseClient(f"http://archiver:wrong@127.0.0.1:{clickhouse.port}", 5)
    )
    reader = ClickHouseArchive(ClickHouseClient(clickhouse.url("gateway"), 5))
    with pytest.raises(ArchiveRefused, match="516"):
        await wrong.last_seq("a:b")
    with pytest.raises(ArchiveRefused, match="497"):
        await reader.insert([row(1)], "t")
    assert await reader.last_seq("alice:nobody") == 0
    await wrong.close()
    await reader.close()


class Watched(str):
    """A text whose end can be seen."""


@pytest.mark.parametrize("away", [False, True])
async def test_nothing_of_a_block_is_kept_after_its_insert(
    clickhouse: ClickHouse, away: bool
) -> None:
    """The worker's collector comes by seldom: what holds itself would stay for millions of rows."""
    archive = ClickHouseArchive(
        ClickHouseClient("http://x:x@127.0.0.1:1" if away else clickhouse.url("archiver"), 5)
    )
    gc.collect()
    gc.disable()
    try:
        body = Watched("hello")
        seen = weakref.ref(body)
        rows = [row(1, "gone:soon", body=body)]
        del body
        try:
            await archive.insert(rows, next(_tokens))
        except ArchiveUnavailable:
            assert away
        del rows
        assert seen() is None
    finally:
        gc.enable()
        await archive.close()


@pytest.mark.parametrize("wrong", ["", "127.0.0.1:8123", "redis://x:1", "http://"])
def test_an_address_that_is_none(wrong: str) -> None:
    with pytest.raises(ValueError, match="http://user:password@host"):
        Address.parse(wrong)


def test_migrations_by_two_at_once_and_a_newer_archive(clickhouse: ClickHouse) -> None:
    first, second = ArchiveAdmin(clickhouse.url("admin")), ArchiveAdmin(clickhouse.url("admin"))
    latest = migrations()[-1].number
    try:
        first.wipe()

        async def both() -> None:
            await asyncio.gather(
                *(
                    asyncio.to_thread(admin.migrate, lambda migration: None)
                    for admin in (first, second)
                )
            )

        asyncio.run(both())
        assert first.applied() == latest
        applied: list[int] = []
        second.migrate(lambda migration: applied.append(migration.number))
        assert applied == []
        clickhouse.ask(
            "admin",
            f"INSERT INTO archive.migrations (number, name) VALUES ({latest + 1}, 'from the "
            "future')",
        )
        with pytest.raises(ArchiveNewer):
            first.migrate(lambda migration: None)

        async def write() -> None:
            archive = ClickHouseArchive(ClickHouseClient(clickhouse.url("archiver"), 5))
            with pytest.raises(ArchiveMismatch, match="newer code"):
                await archive.prepare(ONE)
            await archive.close()

        asyncio.run(write())
    finally:
        first.wipe()
        first.migrate(lambda migration: None)
        first.close()
        second.close()


async def test_tables_that_were_never_made_say_what_to_run(clickhouse: ClickHouse) -> None:
    clickhouse.ask("admin", "RENAME DATABASE archive TO archive_restored")
    archive = ClickHouseArchive(ClickHouseClient(clickhouse.url("archiver"), 5))
    try:
        with pytest.raises(ArchiveRefused, match="messenger archive migrate"):
            await archive.prepare(ONE)
    finally:
        clickhouse.ask("admin", "RENAME DATABASE archive_restored TO archive")
        await archive.close()
