"""The archiver and ClickHouse killed, stopped and paused under load: nothing missing or twice in
any read, then or later."""

import asyncio
import random
import signal
import time
from collections.abc import AsyncIterator, Callable

import pytest

from schemas.topics import LOG, SUBMITTED
from tests.chaos.conftest import ROUNDS
from tests.harness import kafka
from tests.harness.archive import ArchiveReader, wait_equal
from tests.harness.load import Load
from tests.harness.stack import Stack
from tests.harness.talk import Talk

pytestmark = [pytest.mark.real, pytest.mark.chaos, pytest.mark.timeout(300 + 120 * ROUNDS)]


PARTS = {"archivers": 1, "cursors": None, "presence": None}


@pytest.fixture
async def reader(lab: Stack, talk: Talk) -> AsyncIterator[ArchiveReader]:
    """Reads all the while; its end fails if a page was wrong."""
    reading = ArchiveReader(lab, [f"{talk.user(f'a{n}')}:{talk.user(f'b{n}')}" for n in range(8)])
    yield reading
    await reading.stop()


@pytest.fixture
def restarts(lab: Stack) -> Callable[[], int]:
    """How often the archiver has been started again since the test began."""
    before = lab.parts()["archiver-1"]["restarts"]
    return lambda: int(lab.parts()["archiver-1"]["restarts"] - before)


async def killed(lab: Stack, part: str) -> None:
    await asyncio.to_thread(lab.replace, part)


def errors(lab: Stack) -> int:
    """How often the archiver's inserts have failed."""
    page = lab.archiver()
    assert page is not None
    return int(page["errors"])


def reasons(lab: Stack) -> list[str]:
    """What each partition of the archiver has to say for itself."""
    page = lab.archiver() or {"partitions": []}
    return [partition["reason"] for partition in page["partitions"]] or [""]


async def judge(lab: Stack, load: Load, reader: ArchiveReader) -> None:
    await load.stop()
    began = time.monotonic()
    messages, rows = await wait_equal(lab, 60)
    print(
        f"{messages} messages, {rows} rows; equal {time.monotonic() - began:.1f} s after the last "
        "was sent"
    )
    print(f"{reader.pages} pages read, {reader.unavailable} times not available")
    check = await asyncio.to_thread(lab.run, "archive", "check")
    assert check.returncode == 0, check.stdout + check.stderr
    assert await reader.messages() == load.said


@pytest.mark.soak
async def test_the_archiver_is_killed_again_and_again(
    lab: Stack, load: Load, reader: ArchiveReader, restarts: Callable[[], int]
) -> None:
    chance = random.Random(1)
    await load.start()
    for _ in range(2 * ROUNDS):
        await load.sent(chance.randrange(50, 800))
        await killed(lab, "archiver-1")
    await judge(lab, load, reader)
    assert restarts() == 2 * ROUNDS, "it died of nothing else"


@pytest.mark.soak
@pytest.mark.parts(archivers=2)
async def test_one_of_two_archivers_is_killed(
    lab: Stack, load: Load, reader: ArchiveReader
) -> None:
    chance = random.Random(3)
    await load.start()
    for number in range(ROUNDS):
        await load.sent(chance.randrange(50, 800))
        await killed(lab, f"archiver-{number % 2 + 1}")
    await judge(lab, load, reader)


async def test_clickhouse_is_killed_again_and_again(
    lab: Stack, load: Load, reader: ArchiveReader, restarts: Callable[[], int]
) -> None:
    chance = random.Random(2)
    await load.start()
    for number in range(ROUNDS):
        await load.sent(chance.randrange(50, 800))
        await killed(lab, "clickhouse")
        if number % 3 == 2:
            await killed(lab, "archiver-1")
    await judge(lab, load, reader)
    assert restarts() == ROUNDS // 3, "it waits, and does not end"


@pytest.mark.soak
async def test_clickhouse_is_away_for_a_while(
    lab: Stack, load: Load, reader: ArchiveReader, restarts: Callable[[], int]
) -> None:
    away = 120 if ROUNDS > 1 else 15
    before = errors(lab)
    await load.start()
    await load.sent(200)
    until = time.monotonic() + away
    while time.monotonic() < until:
        await killed(lab, "clickhouse")
    page = lab.archiver()
    assert page is not None
    assert errors(lab) > before
    assert any("ClickHouse at" in partition["last_error"] for partition in page["partitions"])
    await load.sent(200)
    await judge(lab, load, reader)
    assert restarts() == 0


@pytest.mark.soak
async def test_clickhouse_is_paused_and_goes_on_or_is_killed_for_it(
    lab: Stack, load: Load, reader: ArchiveReader
) -> None:
    await load.start()
    await load.sent(100)
    lab.kill("clickhouse", signal.SIGSTOP)
    await asyncio.sleep(4)
    lab.kill("clickhouse", signal.SIGCONT)
    await load.sent(100)
    said = lab.output.stat().st_size
    await asyncio.to_thread(lab.replace, "clickhouse", signal.SIGSTOP, timeout=60)
    assert b"clickhouse has not answered for 20 s and is killed" in lab.output.read_bytes()[said:]
    await judge(lab, load, reader)


@pytest.mark.soak
@pytest.mark.alone
async def test_a_log_created_anew_is_read_from_its_start_and_another_numbering_halts(
    lab: Stack, talk: Talk
) -> None:
    alice, _ = await talk.join("alice"), await talk.join("bob")
    await talk.say(alice, "bob", [f"before {number}" for number in range(50)])
    await wait_equal(lab, 30)
    await asyncio.to_thread(kafka.recreate, lab, LOG)
    await killed(lab, "worker-1")
    await talk.say(alice, "bob", [f"after {number}" for number in range(50)])
    async with asyncio.timeout(60):
        while (await wait_equal(lab, 60))[0] != 100:  # for a moment both are empty
            await asyncio.sleep(0.2)
    assert lab.parts()["archiver-1"]["restarts"] == 1, "it ended by itself when it saw another log"

    await asyncio.to_thread(kafka.recreate, lab, SUBMITTED)
    async with asyncio.timeout(60):
        while not all("would mean other messages" in reason for reason in reasons(lab)):
            await asyncio.sleep(0.2)
    refused = await asyncio.to_thread(lab.run, "archive", "rebuild", "--from-log")
    assert (refused.returncode, "would mean other messages" in refused.stderr) == (1, True)
