"""The archive of a stack as it should be, and somebody who reads in it all the time."""

import asyncio
import contextlib
import random
import time
from collections.abc import Sequence
from typing import Any

from connectors.clickhouse.admin import ArchiveAdmin
from connectors.clickhouse.archive import ClickHouseArchive
from connectors.clickhouse.client import ClickHouseClient
from connectors.clickhouse.ports import ArchiveUnavailable
from connectors.kafka.reader import Reader
from ops.archive.log import log_rows
from schemas.topics import LOG
from tests.harness.stack import Stack

PARTITIONS = 4


def in_log(stack: Stack) -> set[tuple[Any, ...]]:
    """Every message of the log by R2, without where it stands there, with its newest text."""
    found: dict[tuple[Any, ...], tuple[Any, ...]] = {}
    with contextlib.closing(Reader(stack.kafka)) as reader:
        for partition in range(PARTITIONS):
            _, end = reader.watermarks(LOG, partition)
            for rows in log_rows(reader, partition, end, lambda records: None):
                for row in rows:
                    found[row[:2]] = max(found.get(row[:2], row[:8]), row[:8], key=_version)
    return set(found.values())


def _version(row: tuple[Any, ...]) -> int:
    version: int = row[7]
    return version


def in_archive(admin: ArchiveAdmin) -> list[tuple[Any, ...]]:
    """Every row that a reader sees."""
    text = (
        "SELECT conversation, seq, key, sender, device, body, toUnixTimestamp64Milli(time), "
        "version "
        "FROM archive.messages FINAL SETTINGS do_not_merge_across_partitions_select_final = 1"
    )
    return admin.query(text)


def equal(stack: Stack, admin: ArchiveAdmin) -> bool:
    """Row by row, and no row twice."""
    rows, log = in_archive(admin), in_log(stack)
    return len(rows) == len(log) and set(rows) == log


async def wait_equal(stack: Stack, timeout: float) -> tuple[int, int]:
    """Wait until the archive is what the log is; (messages, rows on disk)."""
    until = time.monotonic() + timeout
    while True:
        with contextlib.suppress(ArchiveUnavailable):
            admin = ArchiveAdmin(stack.clickhouse("admin"))
            try:
                if await asyncio.to_thread(equal, stack, admin):
                    return admin.counts()
                counts, expected = admin.counts(), len(in_log(stack))
            finally:
                admin.close()
            assert time.monotonic() < until, (
                f"(messages, rows) {counts}, in the log {expected}; {stack.archiver()}"
            )
        await asyncio.sleep(0.5)


class ArchiveReader:
    """Reads pages of conversations again and again: whatever is killed, a page has each number once
    and no hole."""

    def __init__(self, stack: Stack, conversations: Sequence[str]) -> None:
        self._archive = ClickHouseArchive(ClickHouseClient(stack.clickhouse("gateway"), 5))
        self._conversations = conversations
        self._chance = random.Random(1)
        self._task = asyncio.create_task(self._run())
        self.pages = 0
        self.unavailable = 0

    async def _run(self) -> None:
        while True:
            conversation = self._chance.choice(self._conversations)
            try:
                last = await self._archive.last_seq(conversation)
                before = self._chance.randrange(last + 1) + 1
                page = await self._archive.page(conversation, before=before, limit=50)
            except ArchiveUnavailable:
                self.unavailable += 1
                await asyncio.sleep(0.05)
                continue
            expected = list(range(before - 1, max(0, before - 51), -1))
            assert [message.seq for message in page] == expected, (conversation, before, last)
            self.pages += 1
            await asyncio.sleep(0.01)

    async def messages(self) -> int:
        """How many there are in its conversations."""
        return sum(
            [await self._archive.last_seq(conversation) for conversation in self._conversations]
        )

    async def stop(self) -> None:
        """Raises what a page was wrong by."""
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        await self._archive.close()
