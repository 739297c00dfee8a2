"""When messages were delivered and read, in the archive of a real stack: right, few rows, and the
same whatever is killed."""

import asyncio
import shlex
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from connectors.clickhouse.admin import ArchiveAdmin
from connectors.kafka.reader import Reader
from ops.archive.log import topic_cursors
from schemas.archive import CursorRow
from schemas.topics import CURSORS
from tests.harness.archive import PARTITIONS
from tests.harness.documents import blocks, run, section
from tests.harness.stack import Stack
from tests.harness.talk import Talk

pytestmark = [pytest.mark.real, pytest.mark.timeout(180)]


@pytest.fixture
def admin(spare: Stack) -> Iterator[ArchiveAdmin]:
    made = ArchiveAdmin(spare.clickhouse("admin"))
    yield made
    made.close()


async def eventually(condition: Callable[[], bool], seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.1)


def in_topic(stack: Stack) -> set[CursorRow]:
    """What the topic holds; nothing is compacted within the minutes of a test."""
    reader = Reader(stack.kafka)
    try:
        return {
            row
            for partition in range(PARTITIONS)
            for rows in topic_cursors(
                reader, partition, reader.watermarks(CURSORS, partition)[1], 0, lambda records: None
            )
            for row in rows
        }
    finally:
        reader.close()


def in_archive(admin: ArchiveAdmin) -> list[CursorRow]:
    text = (
        "SELECT conversation, user, kind, up_to, toUnixTimestamp64Milli(time) FROM archive.cursors "
        "FINAL"
    )
    return [CursorRow(*row) for row in admin.query(text)]


def equal(stack: Stack, admin: ArchiveAdmin) -> bool:
    archived, topic = in_archive(admin), in_topic(stack)
    return len(archived) == len(topic) and set(archived) == topic


def delivered_and_read(admin: ArchiveAdmin, conversation: str) -> tuple[int, int, int]:
    """(messages, delivered, read) of a conversation."""
    text = (
        "SELECT count(), count(delivered), count(read) FROM archive.message_times WHERE "
        f"conversation = '{conversation}'"
    )
    ((messages, delivered, read),) = admin.query(text)
    return messages, delivered, read


async def test_the_sql_of_the_quickstart_answers(spare: Stack) -> None:
    spare.run("send", "--as", "alice", "--to", "bob", "Lunch?", check=True)
    (block,) = blocks(section("docs/QUICKSTART.md", "SQL"))
    said = ""
    async with asyncio.timeout(60):
        while said.count("┌") < 3:  # tables: an answer without rows has none
            said = await asyncio.to_thread(run, spare, block.code)
            await asyncio.sleep(0.5)
    assert "Lunch?" in said


async def test_the_ways_to_connect_that_pages_show_give_answers(
    spare: Stack, tmp_path: Path
) -> None:
    connect = [
        one.code for one in blocks(section("docs/DATA.md", "Connect")) if "curl " in one.code
    ]
    (access,) = [one.code for one in blocks(section("docs/ARCHIVE.md", "Access"))]
    script = "\n".join([f"cd {shlex.quote(str(tmp_path))}", *connect, access])
    assert script.count("curl ") == 3
    said = await asyncio.to_thread(run, spare, script)
    assert "Exception" not in said
    assert (tmp_path / "messages.parquet").read_bytes()[:4] == b"PAR1"


async def test_many_messages_are_few_rows_with_the_times_that_people_see(
    spare: Stack, admin: ArchiveAdmin
) -> None:
    async with Talk(spare, "times") as talk:
        alice = await talk.join("alice")
        conversation, bobs = f"{talk.user('alice')}:{talk.user('bob')}", talk.user("bob")
        began = int(time.time() * 1000)
        await talk.say(alice, "bob", [f"message {number}" for number in range(600)])
        await eventually(lambda: delivered_and_read(admin, conversation) == (600, 0, 0))
        bob = await talk.join("bob")
        await talk.say(alice, "bob", ["one more, which a new device confirms with all before it"])
        await eventually(lambda: alice.device.mark(conversation, bobs).received == 601)
        bob.read(conversation, 250)
        await eventually(lambda: alice.device.mark(conversation, bobs).read == 250)
        await eventually(lambda: delivered_and_read(admin, conversation) == (601, 601, 250))
        mark = alice.device.mark(conversation, bobs)
        ((last_delivered, last_read, early),) = admin.query(
            "SELECT toUnixTimestamp64Milli(max(delivered)), toUnixTimestamp64Milli(max(read)), "
            "countIf(delivered < sent OR read < delivered) FROM archive.message_times WHERE "
            f"conversation = '{conversation}'"
        )
        assert (last_delivered, last_read, early) == (mark.received_at, mark.read_at, 0)
        assert last_delivered > began
        await eventually(lambda: equal(spare, admin))
        rows = len([row for row in in_archive(admin) if row.user == bobs])
        print(
            f"{rows} rows for 601 messages delivered and 250 read; {len(in_archive(admin)) - rows} "
            "of the sender"
        )
        assert rows < 10


async def test_the_archiver_killed_again_and_again_leaves_every_cursor_once(
    spare: Stack, admin: ArchiveAdmin
) -> None:
    async with Talk(spare, "killed") as talk:
        pairs = [(await talk.join(f"a{n}"), await talk.join(f"b{n}")) for n in range(4)]
        for round_ in range(3):
            for n, (alice, bob) in enumerate(pairs):
                await talk.say(alice, f"b{n}", [f"{n} a {round_} {i}" for i in range(40)])
                bob.read(f"{talk.user(f'a{n}')}:{talk.user(f'b{n}')}", 40 * (round_ + 1))
                await talk.say(bob, f"a{n}", [f"{n} b {round_} {i}" for i in range(5)])
            pid = spare.parts()["archiver-1"]["pid"]
            spare.kill("archiver-1")
            await eventually(lambda pid=pid: spare.parts()["archiver-1"]["pid"] != pid)  # type: ignore[misc]
        await eventually(lambda: equal(spare, admin), 60)
        page = await asyncio.to_thread(spare.archiver, CURSORS)
        assert page is not None
        assert {partition["status"] for partition in page["partitions"]} == {"running"}
        stored = admin.query("SELECT count() FROM archive.cursors")[0][0]
        print(
            f"{stored} rows on disk, {len(in_archive(admin))} cursors, {len(talk.accepted)} "
            "messages"
        )
    check = await asyncio.to_thread(spare.run, "archive", "check")
    assert check.returncode == 0, check.stdout + check.stderr
    assert f"cursors not older than the log: {len(in_topic(spare)):,}, missing 0\n" in check.stdout


async def test_cursors_are_checked_rebuilt_backed_up_and_restored(
    spare: Stack, admin: ArchiveAdmin
) -> None:
    whole = sorted(in_archive(admin))
    folder = str(spare.home / "backups" / "one")
    assert spare.run("archive", "backup", "--to", folder).returncode == 0
    admin.run("TRUNCATE TABLE archive.cursors")
    checked = spare.run("archive", "check", "--wait", "0")
    assert (checked.returncode, f"missing {len(whole):,}\n" in checked.stdout) == (1, True), (
        checked.stdout
    )
    rebuilt = spare.run("archive", "rebuild", "--from-log")
    assert (rebuilt.returncode, f"filled {len(whole):,}\n" in rebuilt.stdout) == (0, True), (
        rebuilt.stdout + rebuilt.stderr
    )
    assert sorted(in_archive(admin)) == whole
    admin.run("TRUNCATE TABLE archive.cursors")
    assert spare.run("archive", "restore", "--from", folder).returncode == 0
    assert sorted(in_archive(admin)) == whole
    admin.wipe()
    assert spare.run("archive", "restore", "--from", folder).returncode == 0
    assert sorted(in_archive(admin)) == whole


async def test_a_backup_from_before_there_were_cursors_is_restored_too(
    spare: Stack, admin: ArchiveAdmin
) -> None:
    whole, messages = sorted(in_archive(admin)), admin.counts()[0]
    folder = str(spare.home / "backups" / "old")
    admin.run("ALTER TABLE archive.migrations DELETE WHERE number > 3 SETTINGS mutations_sync = 2")
    newer = ", ".join(f"archive.{name}" for name in ("cursors", "exact_cursors", "message_times"))
    admin.run(f"BACKUP DATABASE archive EXCEPT TABLES {newer} TO File('{folder}')")
    admin.migrate(lambda migration: None)
    admin.run(
        "ALTER TABLE archive.messages DELETE WHERE startsWith(conversation, 'killed') SETTINGS "
        "mutations_sync = 2"
    )
    restored = spare.run("archive", "restore", "--from", folder)
    assert restored.returncode == 0, restored.stderr
    assert (sorted(in_archive(admin)), admin.counts()[0]) == (whole, messages)


def test_retention_drops_months_of_cursors_too(spare: Stack, admin: ArchiveAdmin) -> None:
    whole = sorted(in_archive(admin))
    admin.insert_cursors([CursorRow("alice:zoe", "zoe", "read", 1, 1_577_880_000_000)])
    dropped = spare.run("archive", "retention", "--months", "2", "--yes")
    assert "dropping 202001 of cursors: 1 rows" in dropped.stdout
    assert sorted(in_archive(admin)) == whole
