"""What gateways ask the partitions of a worker (schemas/worker_api.py), and the answers.

A partition that is not here, or cannot tell now, is left out of an answer.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from agents.sequencer.partition import SequencerPartition
from agents.sequencer.queries import Page, TableGone, find_heads, find_newest, in_slices, read_page
from connectors.kafka.ports import ReadTimeout
from schemas.worker_api import (
    HeadsAnswer,
    HeadsQuestion,
    Newest,
    NewestAnswer,
    NewestQuestion,
    RangeGone,
    SeqsAnswer,
    SeqsQuestion,
)
from streams.stage import Stage
from streams.tables.sequences import SequenceTable

T = TypeVar("T")

_QUESTIONS_AT_ONCE = 50
"""A user's conversations are looked up in some 20 us; more than so many would hold the loop up."""


class Answers:
    """Of one worker's sequencer stage."""

    def __init__(self, stage: Stage[SequencerPartition]) -> None:
        self._stage = stage

    async def heads(self, questions: Sequence[HeadsQuestion]) -> Sequence[HeadsAnswer]:
        """What is new to devices. A partition that has not landed is waited for once."""
        asked = self._asked({number for question in questions for number in question.cursors})
        for question in questions:  # before anything is read (R11.4)
            for number in question.cursors.keys() & asked.keys():
                asked[number].io.routes.forget(question.user)
        tables = await self._gather({number: owned.current() for number, owned in asked.items()})
        answers: list[HeadsAnswer] = []
        for index, question in enumerate(questions):
            answers.append({})
            for number in question.cursors.keys() & tables.keys():
                gone = asked[number].gone(tables[number])
                if not gone():
                    with contextlib.suppress(TableGone):
                        answers[-1][number] = await _heads(tables[number], gone, question, number)
            if index % _QUESTIONS_AT_ONCE == _QUESTIONS_AT_ONCE - 1:
                await asyncio.sleep(0)
        return answers

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
    table: SequenceTable, gone: Callable[[], bool], question: HeadsQuestion, number: int
) -> dict[str, int]:
    span = question.after, question.until
    return await find_heads(table, gone, question.user, span, question.cursors[number])


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


async def page(owned: SequencerPartition, conversation: str, after: int, limit: int) -> Page | None:
    """Messages of a conversation after `after`, None if the partition is not here. Raises
    RangeGone, ReadTimeout."""
    table = owned.table
    if table is not None and (table.seq(conversation) <= after or owned.owes_a_change):
        await owned.current()
        table = owned.written()
    if table is None:
        return None
    return await read_page(table, owned.io, conversation, after, limit)


async def newest_page(owned: SequencerPartition, conversation: str, limit: int) -> Page | None:
    """The last `limit` messages of a conversation, or the first of these if they are large; no
    message if the log no longer holds them. None if the partition is not here. Raises
    ReadTimeout."""
    await owned.current()
    table = owned.written()
    if table is None:
        return None
    known = table.seq(conversation)
    try:
        return await read_page(table, owned.io, conversation, max(0, known - limit), limit)
    except RangeGone:
        return Page(known, [], table.last_change(conversation))


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
