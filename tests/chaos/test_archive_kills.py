"""The archiver and ClickHouse killed, stopped and paused under load: nothing missing or twice in any read, then or later."""

import asyncio
import random
import signal
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from schemas.topics import LOG, SUBMITTED
from tests.chaos.conftest import ROUNDS
from tests.harness import kafka
from tests.harness.archive import ArchiveReader, wait_equal
from tests.harness.load import Load
from tests.harness.stack import Stack
from tests.harness.talk import Talk

pytestmark = [pytest.mark.real, pytest.mark.chaos, pytest.mark.timeout(240 + 120 * ROUNDS)]


@pytest.fixture
def lab(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Stack]:
    """A whole stack with so many archivers (1); its supervisor starts again what is killed."""
    with Stack(tmp_path / "stack", archivers=getattr(request, "param", 1)) as stack:
        yield stack


@pytest.fixture
async def reader(lab: Stack, talk: Talk) -> AsyncIterator[ArchiveReader]:
    """Reads all the while; its end fails if a page was wrong."""
    reading = ArchiveReader(lab, [f"{talk.user(f'a{n}')}:{talk.user(f'b{n}')}" for n in range(8)])
    yield reading
    await reading.stop()


async def killed(lab: Stack, part: str) -> None:
    """Kill a part and wait until its supervisor has started another process."""
    pid = lab.parts()[part]["pid"]
    lab.kill(part)
    async with asyncio.timeout(30):
        while lab.parts()[part]["pid"] == pid:
            await asyncio.sleep(0.05)


def reasons(lab: Stack) -> list[str]:
    """What each partition of the archiver has to say for itself."""
    page = lab.archiver() or {"partitions": []}
    return [partition["reason"] for partition in page["partitions"]] or [""]


async def judge(lab: Stack, load: Load, reader: ArchiveReader) -> None:
    await load.stop()
    began = time.monotonic()
    messages, rows = await wait_equal(lab, 60)
    print(f"{messages} messages, {rows} rows; equal {time.monotonic() - began:.1f} s after the last was sent")
    print(f"{reader.pages} pages read, {reader.unavailable} times not available")
    check = await asyncio.to_thread(lab.run, "archive", "check")
    assert check.returncode == 0, check.stdout + check.stderr
    assert messages >= load.said


async def test_the_archiver_is_killed_again_and_again(lab: Stack, load: Load, reader: ArchiveReader) -> None:
    chance = random.Random(1)
    await load.start()
    for _ in range(2 * ROUNDS):
        await load.sent(chance.randrange(50, 800))
        await killed(lab, "archiver-1")
    await judge(lab, load, reader)
    assert lab.parts()["archiver-1"]["restarts"] == 2 * ROUNDS, "it died of nothing else"


@pytest.mark.parametrize("lab", [2], indirect=True)
async def test_one_of_two_archivers_is_killed(lab: Stack, load: Load, reader: ArchiveReader) -> None:
    chance = random.Random(3)
    await load.start()
    for number in range(ROUNDS):
        await load.sent(chance.randrange(50, 800))
        await killed(lab, f"archiver-{number % 2 + 1}")
    await judge(lab, load, reader)


async def test_clickhouse_is_killed_again_and_again(lab: Stack, load: Load, reader: ArchiveReader) -> None:
    chance = random.Random(2)
    await load.start()
    for number in range(ROUNDS):
        await load.sent(chance.randrange(50, 800))
        await killed(lab, "clickhouse")
        if number % 3 == 2:
            await killed(lab, "archiver-1")
    await judge(lab, load, reader)
    assert lab.parts()["archiver-1"]["restarts"] == ROUNDS // 3, "it waits, and does not end"


async def test_clickhouse_is_away_for_a_while(lab: Stack, load: Load, reader: ArchiveReader) -> None:
    away = 120 if ROUNDS > 1 else 15
    await load.start()
    await load.sent(200)
    until = time.monotonic() + away
    while time.monotonic() < until:
        await killed(lab, "clickhouse")
    page = lab.archiver()
    assert page is not None
    assert page["errors"] > 0
    assert any("ClickHouse at" in partition["last_error"] for partition in page["partitions"])
    await load.sent(200)
    await judge(lab, load, reader)
    assert lab.parts()["archiver-1"]["restarts"] == 0


async def test_clickhouse_is_paused_and_goes_on_or_is_killed_for_it(lab: Stack, load: Load, reader: ArchiveReader) -> None:
    await load.start()
    for seconds in (4, 30):
        await load.sent(100)
        lab.kill("clickhouse", signal.SIGSTOP)
        await asyncio.sleep(seconds)
        if seconds < 20:
            lab.kill("clickhouse", signal.SIGCONT)
    assert "clickhouse has not answered" in lab.output.read_text()
    await judge(lab, load, reader)


async def test_a_log_created_anew_is_read_from_its_start_and_another_numbering_halts(lab: Stack, talk: Talk) -> None:
    alice, _ = await talk.join("alice"), await talk.join("bob")
    await talk.say(alice, "bob", [f"before {number}" for number in range(50)])
    await wait_equal(lab, 30)
    await asyncio.to_thread(kafka.recreate, lab, LOG)
    await killed(lab, "worker-1")
    await talk.say(alice, "bob", [f"after {number}" for number in range(50)])
    messages, _ = await wait_equal(lab, 60)
    assert messages == 100
    assert lab.parts()["archiver-1"]["restarts"] == 1, "it ended by itself when it saw another log"

    await asyncio.to_thread(kafka.recreate, lab, SUBMITTED)
    async with asyncio.timeout(60):
        while not all("would mean other messages" in reason for reason in reasons(lab)):
            await asyncio.sleep(0.2)
    refused = await asyncio.to_thread(lab.run, "archive", "rebuild", "--from-log")
    assert (refused.returncode, "would mean other messages" in refused.stderr) == (1, True)
