"""Asks the sequencer's workers, which read the log by number (R9), what devices have missed."""

import heapq
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from gateway.queries.memberships import MembershipQueries
from gateway.queries.worker_client import WorkerClient
from gateway.queries.worker_transport import WorkersUnavailable
from schemas.codec import UNDECODABLE, split_frames
from schemas.frames import MAX_HEADS, Heads, Sync
from schemas.ids import partition_of
from schemas.worker_api import (
    LAST_SEQ,
    HeadsAnswer,
    HeadsQuestion,
    Newest,
    NewestAnswer,
    NewestQuestion,
    PageHead,
    RangeGone,
    SeqsAnswer,
    SeqsQuestion,
)

_heads = msgspec.json.Decoder(list[HeadsAnswer])
_seqs = msgspec.json.Decoder(list[SeqsAnswer])
_newest = msgspec.json.Decoder(list[NewestAnswer])
_page_head = msgspec.json.Decoder(PageHead)


def merge_heads(id_: int, found: Sequence[Mapping[str, int]], pending: bool) -> Heads:
    """One `heads` frame from the partitions' answers (conversation → last seq). A partition with
    MAX_HEADS conversations was cut short: it says nothing about ids after its last one.

    `pending`: some partitions did not answer.
    """
    cut = min((max(heads) for heads in found if len(heads) >= MAX_HEADS), default="")
    heads = sorted(
        (name, seq) for some in found for name, seq in some.items() if not cut or name <= cut
    )
    if len(heads) > MAX_HEADS:
        heads = heads[:MAX_HEADS]
        cut = heads[-1][0]
    return Heads(id_, dict(heads), cut, pending)


class LogPage(NamedTuple):
    """What a worker has read of a conversation: number → `message` frame. `known` is the last seq
    that it knows, `changed` the number of the last change."""

    known: int
    found: dict[int, bytes]
    changed: int = 0


class ConversationQueries:
    """`workers` are the sequencers."""

    def __init__(self, workers: WorkerClient, memberships: MembershipQueries) -> None:
        self._workers = workers
        self._memberships = memberships

    async def heads(self, user: str, sync: Sync) -> Heads:
        """What is new to a device, from all partitions with conversations of the user; `pending` if
        some do not answer. Raises WorkersUnavailable."""
        cursors: dict[int, dict[str, int]] = {
            partition: {} for partition in await self._memberships.partitions(user)
        }
        for conversation, cursor in sync.cursors.items():
            partition = partition_of(conversation, self._workers.partitions)
            if partition in cursors:
                cursors[partition][conversation] = cursor

        def question(partitions: list[int]) -> HeadsQuestion:
            asked = {partition: cursors[partition] for partition in partitions}
            return HeadsQuestion(user, sync.after, sync.until, asked)

        found, complete = await self._workers.ask_owners("heads", _heads, cursors, question)
        return merge_heads(sync.id, list(found.values()), not complete)

    async def seqs(self, conversations: Iterable[str]) -> tuple[dict[str, int], bool]:
        """(conversation → last seq, of those with messages; whether all partitions answered).
        Raises WorkersUnavailable."""
        found, complete = await self._workers.ask_about("seqs", _seqs, conversations, SeqsQuestion)
        return {name: seq for seqs in found.values() for name, seq in seqs.items()}, complete

    async def newest(self, user: str, limit: int, before: tuple[int, str] | None) -> list[Newest]:
        """A user's conversations, last written first, before `before`: (time in ms, conversation).
        Raises WorkersUnavailable."""

        def question(partitions: list[int]) -> NewestQuestion:
            return NewestQuestion(user, limit, before, partitions)

        partitions = await self._memberships.partitions(user)
        found, complete = await self._workers.ask_owners("newest", _newest, partitions, question)
        if not complete:
            raise WorkersUnavailable("not all partitions answer")
        return heapq.nlargest(limit, (one for newest in found.values() for one in newest))

    async def page(self, conversation: str, after: int, limit: int) -> LogPage:
        """`message` frames after+1, after+2 … Raises WorkersUnavailable, RangeGone."""
        return await self._page(conversation, after, limit)

    async def newest_page(self, conversation: str, limit: int) -> LogPage:
        """The last `limit`, or the first of these if they are large or the log does not hold all.
        Raises WorkersUnavailable, RangeGone."""
        # A worker that does not know `newest` has nothing after the last number there can be.
        page = await self._page(conversation, LAST_SEQ, limit, newest="1")
        frames = page.found.values()
        return page._replace(found=dict(enumerate(frames, max(1, page.known - limit + 1))))

    async def _page(self, conversation: str, after: int, limit: int, **more: str) -> LogPage:
        query = {"conversation": conversation, "after": str(after), "limit": str(limit), **more}
        status, answer = await self._workers.ask_owner(conversation, "page", query)
        if status == 410:
            raise RangeGone(f"{conversation} after {after}")
        if status != 200:
            raise WorkersUnavailable(f"page of {conversation}: {status}")
        try:
            head, *frames = split_frames(answer)
            said = _page_head.decode(head)
            return LogPage(said.known, dict(enumerate(frames, after + 1)), said.changed)
        except (ValueError, *UNDECODABLE) as error:  # ValueError: an answer without a line
            raise WorkersUnavailable(f"a worker's answer cannot be read: {error}") from None
