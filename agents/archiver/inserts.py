"""Inserts blocks into the archive. Small blocks that are due together go in one insert: an insert
costs ClickHouse some 50 ms of CPU and one more part to merge, however few rows it brings."""

from asyncio import Semaphore
from collections.abc import Sequence
from typing import Generic, NamedTuple

from agents.archiver.content import Content
from agents.rules.archive import MAX_BYTES, MAX_ROWS, R
from connectors.clickhouse.ports import Archive
from connectors.request_batcher import RequestBatcher

_TOGETHER = 10
_SMALL_ROWS, _SMALL_BYTES = MAX_ROWS // _TOGETHER, MAX_BYTES // _TOGETHER


class Tokened(NamedTuple, Generic[R]):
    """Rows, and the token by which ClickHouse recognises the same insert again."""

    rows: Sequence[R]
    token: str


class Inserts(Generic[R]):
    """The partitions of a topic share it. `turns` bounds the inserts under way at once."""

    def __init__(self, content: Content[R], archive: Archive, turns: Semaphore) -> None:
        self._content = content
        self._archive = archive
        self._turns = turns
        self.done = 0
        """Inserts so far."""
        self._together = RequestBatcher[Tokened[R], None](self._insert, 1, _TOGETHER)

    async def insert(self, block: Tokened[R], held_bytes: int, alone: bool) -> None:
        """Returns when the rows are there. Raises ArchiveUnavailable, ArchiveRefused for all blocks
        of an insert. A block that has failed goes `alone`, so that it does not stop the others."""
        if alone or len(block.rows) > _SMALL_ROWS or held_bytes > _SMALL_BYTES:
            await self._insert([block])
        else:
            await self._together(block)

    async def _insert(self, blocks: Sequence[Tokened[R]]) -> list[None]:
        rows = [row for block in blocks for row in block.rows]
        async with self._turns:
            await self._content.insert(
                self._archive, rows, " ".join(block.token for block in blocks)
            )
        self.done += 1
        return [None for _ in blocks]

    async def close(self) -> None:
        """Give up what is under way."""
        await self._together.close()
