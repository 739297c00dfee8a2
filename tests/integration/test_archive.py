"""The archive of a real stack: rows equal to the log, wiped and rebuilt, backed up and restored,
months dropped."""

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from connectors.clickhouse.admin import ArchiveAdmin
from connectors.clickhouse.archive import ClickHouseArchive
from connectors.clickhouse.client import ClickHouseClient
from schemas.archive import Row
from schemas.codec import encode_event
from schemas.events import SCHEMA_VERSION
from schemas.ids import partition_of
from schemas.topics import LOG
from tests.harness import kafka
from tests.harness.archive import equal, in_archive, in_log
from tests.harness.stack import Stack
from tests.harness.talk import Talk

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack with an archive that this module may wipe."""
    with Stack(tmp_path_factory.mktemp("archive") / "stack", archivers=1) as stack:
        yield stack


@pytest.fixture
def admin(own: Stack) -> Iterator[ArchiveAdmin]:
    made = ArchiveAdmin(own.clickhouse("admin"))
    yield made
    made.close()


@pytest.fixture
async def archive(own: Stack) -> AsyncIterator[ClickHouseArchive]:
    """As a gateway sees it."""
    made = ClickHouseArchive(ClickHouseClient(own.clickhouse("gateway"), 10))
    yield made
    await made.close()


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


async def test_what_people_said_is_in_the_archive(
    own: Stack, admin: ArchiveAdmin, archive: ClickHouseArchive
) -> None:
    async with Talk(own, "arch") as talk:
        pairs = [(await talk.join(f"a{n}"), await talk.join(f"b{n}")) for n in range(10)]
        await asyncio.gather(
            *(
                talk.say(pair[0], f"b{n}", [f"{n} a {i} – ü" for i in range(150)])
                for n, pair in enumerate(pairs)
            ),
            *(
                talk.say(pair[1], f"a{n}", [f"{n} b {i}" for i in range(150)])
                for n, pair in enumerate(pairs)
            ),
        )
        began = time.monotonic()
        wait_for(lambda: admin.counts()[0] == 3000)
        print(f"3,000 messages archived {time.monotonic() - began:.2f} s after the last was sent")
        assert equal(own, admin)
        name = f"{talk.user('a3')}:{talk.user('b3')}"
        page = await archive.page(name, before=301, limit=300)
        assert [message.seq for message in page] == list(range(300, 0, -1))
        said = {
            (message.seq, message.body) for message in talk.accepted if message.conversation == name
        }
        assert {(message.seq, message.body) for message in page} == said
        assert await archive.last_seq(name) == 300


async def test_a_message_is_archived_within_three_seconds(
    own: Stack, archive: ClickHouseArchive
) -> None:
    async with Talk(own, "fresh") as talk:
        alice, _ = await talk.join("alice"), await talk.join("bob")
        longest = 0.0
        for number in range(8):
            sent = await alice.send(talk.user("bob"), f"message {number}")
            began = time.monotonic()
            while not await archive.page(sent.conversation, before=sent.seq + 1, limit=1):
                await asyncio.sleep(0.02)
            longest = max(longest, time.monotonic() - began)
            await asyncio.sleep(0.13)
        print(f"archived at most {longest:.2f} s after `sent`")
        assert longest < 3


def test_check_finds_what_is_missing_twice_and_different(own: Stack, admin: ArchiveAdmin) -> None:
    clean = own.run("archive", "check")
    assert clean.returncode == 0, clean.stdout + clean.stderr
    good = admin.found([("arch-a1:arch-b1", seq) for seq in (10, 11, 12)])
    first, second, third = sorted(good, key=lambda row: row.seq)
    admin.run(
        f"ALTER TABLE archive.messages DELETE WHERE conversation = '{first.conversation}' AND seq "
        f"= {first.seq} "
        "SETTINGS mutations_sync = 2",
    )
    admin.insert(
        [second._replace(body="forged"), third._replace(time=third.time - 70 * 24 * 3600 * 1000)]
    )
    found = own.run("archive", "check", "--wait", "0")
    assert found.returncode == 1
    for line in (
        "missing: 1\n",
        "different: 1\n",
        "twice: 1\n",
        f"missing: {first.conversation}/{first.seq} ",
    ):
        assert line in found.stdout, found.stdout
    assert "forged" not in found.stdout, "never a body in an output"

    filled = own.run("archive", "rebuild", "--from-log")
    assert (filled.returncode, "filled: 1\n" in filled.stdout) == (1, True), (
        "what differs is told, never replaced"
    )
    for _ in range(2):
        admin.run(
            f"ALTER TABLE archive.messages DELETE WHERE conversation = '{first.conversation}' "
            "SETTINGS mutations_sync = 2"
        )
        filled = own.run("archive", "rebuild", "--from-log")
        assert (filled.returncode, "filled: 300\n" in filled.stdout) == (0, True), filled.stdout
    assert equal(own, admin)


def test_wiped_and_rebuilt_it_is_equal(own: Stack, admin: ArchiveAdmin) -> None:
    before = sorted(in_archive(admin))
    admin.wipe()
    missing = own.run("archive", "check")
    assert (missing.returncode, "messenger:" in missing.stderr) == (1, True)
    rebuilt = own.run("archive", "rebuild", "--from-log")
    assert rebuilt.returncode == 0, rebuilt.stdout + rebuilt.stderr
    assert sorted(in_archive(admin)) == before
    assert not admin.has_dropped(), "a backup may still bring back what is older than the log"
    own.run("send", "--as", "alice", "--to", "bob", "and it goes on", check=True)
    wait_for(lambda: equal(own, admin))
    assert own.run("archive", "check").returncode == 0


def test_backed_up_and_restored_it_is_equal(own: Stack, admin: ArchiveAdmin) -> None:
    folder = str(own.home / "backups" / "one")
    wait_for(lambda: equal(own, admin))
    before = sorted(in_archive(admin))
    admin.say_dropped("202001")
    assert own.run("archive", "backup", "--to", folder).returncode == 0
    again = own.run("archive", "backup", "--to", folder)
    assert (again.returncode, "already exists" in again.stderr) == (1, True)
    outside = own.run("archive", "backup", "--to", "/somewhere/else")
    assert (outside.returncode, "allowed" in outside.stderr) == (1, True)

    admin.wipe()
    restored = own.run("archive", "restore", "--from", folder)
    assert restored.returncode == 0, restored.stderr
    assert sorted(in_archive(admin)) == before
    assert admin.has_dropped()

    admin.run("TRUNCATE TABLE archive.dropped")
    own.run("send", "--as", "alice", "--to", "bob", "later than the backup", check=True)
    wait_for(lambda: equal(own, admin))
    admin.run(
        "ALTER TABLE archive.messages DELETE WHERE conversation = 'arch-a1:arch-b1' SETTINGS "
        "mutations_sync = 2"
    )
    restored = own.run("archive", "restore", "--from", folder)
    assert restored.returncode == 0, restored.stderr
    wait_for(lambda: equal(own, admin))  # what was missing is back, what came later is there
    assert admin.has_dropped()
    assert own.run("archive", "check").returncode == 0
    assert (
        own.run("archive", "restore", "--from", str(own.home / "backups" / "none")).returncode == 1
    )


def test_a_lost_beginning_is_told_until_an_operator_accepts_it(
    own: Stack, admin: ArchiveAdmin
) -> None:
    """Of a conversation that the log does not have any more."""
    now = int(time.time() * 1000)
    late = Row("alice:zoe", 9, bytes(16), "alice", "phone", "the ninth", now, 0, 0, 0)
    admin.run("TRUNCATE TABLE archive.dropped")
    admin.insert([late])
    told = own.run("archive", "check", "--wait", "0")
    assert (told.returncode, "without their beginning: 1 " in told.stdout) == (1, True)
    planned = own.run("archive", "accept-loss")
    assert "do not begin with their first message: 1\n" in planned.stdout, planned.stderr
    assert not admin.has_dropped()
    assert own.run("archive", "accept-loss", "--yes").returncode == 0
    assert admin.has_dropped()
    assert own.run("archive", "check").returncode == 0
    for table in ("messages", "user_conversations"):
        admin.run(
            f"ALTER TABLE archive.{table} DELETE WHERE conversation = 'alice:zoe' "
            "SETTINGS mutations_sync = 2"
        )
    admin.run("TRUNCATE TABLE archive.dropped")


def test_an_emptied_archive_is_read_again_and_no_loss_is_accepted_before_that(
    own: Stack, admin: ArchiveAdmin
) -> None:
    """Else devices would take what has been read so far for the beginning."""
    before = sorted(in_archive(admin))
    own.kill("archiver-1", signal.SIGSTOP)
    for table in ("messages", "user_conversations", "cursors", "dropped"):
        admin.run(f"TRUNCATE TABLE archive.{table}")
    refused = own.run("archive", "accept-loss", "--yes", "--wait", "0")
    assert refused.returncode == 1
    assert f"{len(before):,} messages of the log are not in the archive yet" in refused.stderr
    assert not admin.has_dropped()
    own.replace("archiver-1")
    own.run("send", "--as", "alice", "--to", "bob", "and it goes on", check=True)
    wait_for(lambda: equal(own, admin), 60)
    assert set(before) < set(in_archive(admin))
    accepted = own.run("archive", "accept-loss", "--yes")
    assert "do not begin with their first message: 0\naccepted" in accepted.stdout, accepted.stderr
    assert admin.has_dropped()
    assert own.run("archive", "check").returncode == 0
    admin.run("TRUNCATE TABLE archive.dropped")


def test_retention_drops_whole_months_and_says_so(own: Stack, admin: ArchiveAdmin) -> None:
    old = Row("alice:zoe", 1, bytes(16), "alice", "phone", "long ago", 1_577_880_000_000, 0, 0, 0)
    admin.insert([old, old._replace(seq=2)])
    planned = own.run("archive", "retention", "--months", "2")
    assert (planned.returncode, "would drop 202001 of messages: 2 rows" in planned.stdout) == (
        0,
        True,
    ), planned.stdout
    assert len(admin.found([("alice:zoe", 1)])) == 1
    assert not admin.has_dropped()
    dropped = own.run("archive", "retention", "--months", "2", "--yes")
    assert "dropping 202001 of messages: 2 rows" in dropped.stdout
    assert admin.found([("alice:zoe", 1), ("alice:zoe", 2)]) == []
    assert admin.query("SELECT count() FROM archive.user_conversations WHERE user = 'zoe'") == [
        (0,)
    ]
    assert admin.has_dropped()
    assert own.run("archive", "retention", "--months", "1").returncode == 2
    assert equal(own, admin)


def test_views_of_data_teams_are_exact(own: Stack, admin: ArchiveAdmin) -> None:
    rows = admin.found([("arch-a2:arch-b2", seq) for seq in range(1, 200)])
    admin.insert(rows)
    messages = len(in_log(own))
    assert admin.query("SELECT count(), countIf(erased) FROM archive.exact_messages") == [
        (messages, 0)
    ]
    for _ in range(2):
        admin.run("SYSTEM REFRESH VIEW archive.daily_feed")
        admin.run("SYSTEM WAIT VIEW archive.daily_feed")
    assert admin.query("SELECT sum(messages) FROM archive.daily") == [(messages,)]


def test_commands_say_what_is_wrong_with_a_code(own: Stack, tmp_path: Path) -> None:
    environment = {**own.environment(), "MESSENGER_CLICKHOUSE_ADMIN": "http://admin:x@127.0.0.1:1"}
    away = own.run("archive", "check", environment=environment)
    assert (away.returncode, away.stderr.startswith("messenger: ClickHouse at 127.0.0.1:1")) == (
        3,
        True,
    )
    wrong = own.run(
        "archive", "migrate", environment={**environment, "MESSENGER_CLICKHOUSE_ADMIN": "nonsense"}
    )
    assert (wrong.returncode, "http://user:password@host" in wrong.stderr) == (2, True)
    nowhere = {"PATH": "/usr/bin:/bin", "MESSENGER_HOME": str(tmp_path / "none")}
    unset = own.run("archive", "migrate", environment=nowhere)
    assert (unset.returncode, "MESSENGER_CLICKHOUSE_ADMIN" in unset.stderr) == (2, True)
    for name in ("migrate", "retention", "accept-loss", "rebuild", "backup", "restore", "check"):
        assert "Example:" in own.run("archive", name, "--help", check=True).stdout


def test_a_record_of_a_newer_version_halts_its_partition_and_no_other(
    own: Stack, admin: ArchiveAdmin
) -> None:
    partition = partition_of("alice:bob", 4)
    kafka.produce(own, LOG, partition, encode_event([SCHEMA_VERSION + 1, "from the future"]))

    def status() -> dict[int, str]:
        page = own.archiver() or {"partitions": []}
        return {found["partition"]: found["status"] for found in page["partitions"]}

    wait_for(lambda: status().get(partition) == "halted")
    assert set(status().values()) == {"halted", "running"}
    assert list(own.unhealthy()) == ["archiver-1"]
    other = next(n for n in range(100) if partition_of(f"alice:carol{n}", 4) != partition)
    sent = own.run("send", "--as", "alice", "--to", f"carol{other}", "the others go on", check=True)
    assert json.loads(sent.stdout)["seq"] == 1
    wait_for(lambda: len(admin.found([(f"alice:carol{other}", 1)])) == 1)
