"""What gateways ask the partitions of a worker (schemas/worker_api.py), and the answers.

A partition that is not here, or cannot tell now, is left out of an answer.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Iterable, Mapping
from typing import TypeVar

from agents.sequencer.partition import SequencerPartition
from agents.sequencer.queries import Page, TableGone, find_heads, find_newest, in_slices, read_page
from connectors.kafka.ports import ReadTimeout
from schemas.worker_api import (
    HeadsAnswer,
    HeadsQuestion,
    HoldingAnswer,
    HoldingQuestion,
    Newest,
    NewestAnswer,
    NewestQuestion,
    SeqsAnswer,
    SeqsQuestion,
)
from streams.stage import Stage

T = TypeVar("T")


class Answers:
    """Of one worker's sequencer stage."""

    def __init__(self, stage: Stage[SequencerPartition]) -> None:
        self._stage = stage

    async def heads(self, question: HeadsQuestion) -> HeadsAnswer:
        """What is new to a device."""
        span = question.after, question.until
        asked = self._asked(question.cursors)
        return await self._gather(
            {
                number: _heads(owned, question.user, span, question.cursors[number])
                for number, owned in asked.items()
            }
        )

    async def seqs(self, question: SeqsQuestion) -> SeqsAnswer:
        """Last seqs of conversations."""
        asked = self._asked(question.conversations)
        return await self._gather(
            {
                number: _seqs(owned, question.conversations[number])
                for number, owned in asked.items()
            }
        )

    async def newest(self, question: NewestQuestion) -> NewestAnswer:
        """The user's conversations that were written to last."""
        asked = self._asked(question.partitions)
        return await self._gather(
            {
                number: _newest(owned, question.user, question.limit, question.before)
                for number, owned in asked.items()
            }
        )

    async def holding(self, question: HoldingQuestion) -> HoldingAnswer:
        """Whether a user has conversations."""
        asked = self._asked(question.partitions)
        return await self._gather(
            {number: _holds(owned, question.user) for number, owned in asked.items()}
        )

    def _asked(self, numbers: Iterable[int]) -> Mapping[int, SequencerPartition]:
        owned = self._stage.here(numbers)
        self._stage.figures["questions"] += 1
        self._stage.figures["partitions_asked"] += len(owned)
        return owned

    async def _gather(self, asked: Mapping[int, Awaitable[T | None]]) -> dict[int, T]:
        found = await asyncio.gather(*asked.values())
        return {
            number: answer
            for number, answer in zip(asked, found, strict=True)
            if answer is not None
        }


async def _heads(
    owned: SequencerPartition, user: str, span: tuple[str, str], cursors: Mapping[str, int]
) -> dict[str, int] | None:
    table = await owned.current()
    if table is not None:
        with contextlib.suppress(TableGone):
            return await find_heads(table, owned.gone(table), user, span, cursors)
    return None


async def _seqs(owned: SequencerPartition, conversations: Iterable[str]) -> dict[str, int] | None:
    """A device may know a message that another owner has delivered, and that is not folded here
    yet. So "no conversation" is said only after all that is in the input is folded."""
    wanted = list(conversations)
    table = await owned.current()
    if table is not None and not all(map(table.seq, wanted)):
        try:
            table = await owned.complete()
        except ReadTimeout:
            return None
    if table is None:
        return None
    found = {conversation: table.seq(conversation) for conversation in wanted}
    return {conversation: seq for conversation, seq in found.items() if seq}


async def _newest(
    owned: SequencerPartition, user: str, limit: int, before: tuple[int, str] | None
) -> list[Newest] | None:
    table = await owned.current()
    if table is not None:
        with contextlib.suppress(TableGone):
            return await find_newest(table, owned.gone(table), user, limit, before)
    return None


async def _holds(owned: SequencerPartition, user: str) -> bool | None:
    """The answer covers all that was in the input before the question. For what comes later, routes
    are looked up after the question, and with them the conversation is added to the user's
    partitions."""
    with contextlib.suppress(ReadTimeout):
        table = await owned.complete()
        if table is not None:
            return any(True for _ in table.conversations(user, "", ""))
    return None


async def page(owned: SequencerPartition, conversation: str, after: int, limit: int) -> Page | None:
    """Messages of a conversation after `after`, None if the partition is not here. Raises
    RangeGone, ReadTimeout."""
    table = owned.table
    if table is not None and table.seq(conversation) <= after:
        await owned.current()
        table = owned.written()
    if table is None:
        return None
    return await read_page(table, owned.io, conversation, after, limit)


async def counters(
    owned: SequencerPartition,
) -> tuple[Mapping[str, int], list[tuple[str, int]]] | None:
    """Up to where the table holds the log and the input, and every conversation's last seq there;
    None if the partition is not here."""
    table = owned.table
    if table is None:
        return None
    header, rows = table.counters()
    place = {
        "log_offset": header.log_offset if header else -1,
        "position": header.position if header else -1,
    }
    entries: list[tuple[str, int]] = []
    with contextlib.suppress(TableGone):
        async for some in in_slices(rows, owned.gone(table)):
            entries += some
        return place, entries
    return None
