"""Messages from any time. A window in Redis may have the newest (R16), the log by number (R9) gives
what it holds, the archive what is older.

Numbers are dense, so a page can be proven whole, and one that is not whole is not sent. The device
asks again later for what neither source gives now, unless the archive shows that nothing older is
kept.
"""

import asyncio
import contextlib
from collections.abc import Coroutine, Mapping, Sequence
from copy import copy
from typing import Any, NamedTuple, Protocol, Self, TypeVar

from connectors.clickhouse.ports import Archive, ArchiveRefused, ArchiveUnavailable
from gateway.queries.changes import outdated, with_changes
from gateway.queries.conversations import LogPage
from gateway.queries.fair_places import FairPlaces
from gateway.queries.recent import Frames, RecentPages
from gateway.queries.worker_transport import WorkersUnavailable
from schemas.codec import encode_frame
from schemas.frames import MAX_PAGE_MESSAGES, Message
from schemas.worker_api import LAST_SEQ, MAX_PAGE_BYTES, Newest, RangeGone

_MAX_READS = 16
"""Questions under way at the archive; more wait, and users take turns."""
_LISTED_AT_ONCE = 4
"""So many last messages History looks for at once for a list of conversations, so that one list
does not come before the pages of all others."""

_NOTHING: Frames = {}

_Answer = TypeVar("_Answer")


class HistoryUnavailable(Exception):
    """A source that the page needs does not answer now, or is not complete; try again."""


class _WindowOutdated(Exception):
    """Messages of the window may have been changed since."""


class Page(NamedTuple):
    """`frames` are encoded `message` frames in order, without a hole. `known` is the last seq of
    the conversation as far as is known. `first`: nothing before this page is kept."""

    known: int
    frames: list[bytes]
    first: bool


class _Log(NamedTuple):
    """What the log gave: the last seq it knows (None: no answer), seq → frame, whether the log no
    longer holds the beginning of the range, and the number of the last change."""

    known: int | None
    found: dict[int, bytes]
    gone: bool
    changed: int = 0


class LogByNumber(Protocol):
    """What history needs of `gateway.queries.conversations.ConversationQueries`."""

    async def page(self, conversation: str, after: int, limit: int) -> LogPage: ...

    async def newest_page(self, conversation: str, limit: int) -> LogPage: ...

    async def newest(
        self, user: str, limit: int, before: tuple[int, str] | None
    ) -> Sequence[Newest]: ...


class History:
    """Without an `archive`, history reaches back as far as the log does."""

    def __init__(self, log: LogByNumber, archive: Archive | None, recent: RecentPages) -> None:
        self._log = log
        self._archive = archive
        self._recent = recent
        self._reads = FairPlaces(_MAX_READS)
        self._asker = ""

    def of(self, user: str) -> Self:
        """The same, for what this user asks: a user who asks much of the archive waits behind their
        own questions."""
        mine = copy(self)
        mine._asker = user
        return mine

    async def page(
        self, conversation: str, before: int | None, after: int | None, limit: int
    ) -> Page:
        """The newest `limit` messages below `before`, or the oldest above `after`; without either,
        the newest. Fewer if they are large. `after` counts if both are given. Raises
        HistoryUnavailable, and RangeGone if the log no longer holds the page's end and there is no
        archive, or if nothing of the conversation is kept."""
        if after is None and (before is None or before > LAST_SEQ):
            limit = min(limit, MAX_PAGE_MESSAGES)
            window, (known, come, changed) = await asyncio.gather(
                self._window(conversation), self._newest(conversation, limit)
            )
            if outdated(window, changed):
                window = _NOTHING
            known = reaching(known, window)
            return await self._page(conversation, known + 1, None, limit, window, known, come)
        window = await self._window(conversation)
        try:
            return await self._page(conversation, before, after, limit, window)
        except _WindowOutdated:
            return await self._page(conversation, before, after, limit, _NOTHING)

    async def _page(
        self,
        conversation: str,
        before: int | None,
        after: int | None,
        limit: int,
        window: Frames | None,
        known: int | None = None,
        come: Frames = _NOTHING,
    ) -> Page:
        """`window` None: this page neither uses nor makes one. `known` None: it is asked for.
        `come`: what came with it."""
        limit = min(limit, MAX_PAGE_MESSAGES)
        if after is not None:
            low, high = after + 1, after + limit
        else:
            assert before is not None
            low, high = max(1, before - limit), before - 1
        if low > high:
            known = await self._known(conversation, window) if known is None else known
            return Page(reaching(known, window), [], first=True)
        have = {**(window or _NOTHING), **come}
        found = {seq: have[seq] for seq in range(low, high + 1) if seq in have}
        asked_from = low
        while asked_from in found:
            asked_from += 1
        if asked_from <= high:
            log = await self._from_log(conversation, asked_from, high, found, window)
            known = log.known if known is None else known
        else:
            log = _Log(None, found, gone=False)
            known = await self._known(conversation, window) if known is None else known
        from_window = asked_from > high and not come
        self._recent.count(from_window)
        found = log.found
        if known is None or any(seq not in found for seq in range(low, min(high, known) + 1)):
            known, found = await self._complete(conversation, low, high, known, log, window)
        known = reaching(known, window)
        if after is None and high > known:
            return await self._page(conversation, known + 1, None, limit, window, known)
        high = min(high, known)
        if low > high:
            return Page(known, [], first=low == 1)
        page, lowest = gapless(found, low, high)
        if lowest > low:
            if not log.gone:
                raise HistoryUnavailable(
                    f"{conversation}: the log does not say whether it has {low} to {lowest - 1}"
                )
            kept_from = await self._kept_from(conversation)
            if after is not None and kept_from > high:
                page_ = await self._page(conversation, None, kept_from - 1, limit, window)
                return page_._replace(first=True)
            if kept_from == 0 and await self._nothing_kept(conversation, known):
                raise RangeGone(f"{conversation}: nothing is kept")
            if kept_from < lowest if page else kept_from <= high:
                raise HistoryUnavailable(f"{conversation}: {low} to {high} is not whole yet")
        if window is not None and not from_window:
            self._recent.opened(conversation, window, dict(enumerate(page, lowest)), known)
        kept = fitting(page, newest=after is None)
        return Page(
            known,
            kept,
            (lowest == 1 or lowest > low) and (after is not None or len(kept) == len(page)),
        )

    async def conversations(
        self, user: str, limit: int, before: tuple[int, str] | None
    ) -> list[tuple[Newest, bytes | None]]:
        """A user's conversations, last written first, each with its last message (None if that is
        not kept any more). `before` is (time in ms, conversation) of the last one seen. Raises
        HistoryUnavailable."""
        try:
            newest = await self._log.newest(user, limit, before)
        except WorkersUnavailable as error:
            raise HistoryUnavailable(str(error)) from None
        mine, places = self.of(user), asyncio.Semaphore(_LISTED_AT_ONCE)

        async def last_message(one: Newest) -> bytes | None:
            async with places:
                return await mine._last_message(one)

        found = await asyncio.gather(*map(last_message, newest))
        return list(zip(newest, found, strict=True))

    async def _last_message(self, newest: Newest) -> bytes | None:
        try:
            page = await self._page(newest.conversation, None, newest.seq - 1, 1, window=None)
        except RangeGone:
            return None
        return page.frames[0] if page.frames else None

    async def _window(self, conversation: str) -> Frames:
        return with_changes(await self._recent.read(conversation))

    async def _newest(self, conversation: str, limit: int) -> LogPage:
        """The last seq of a conversation, and as many messages up to it as the log gives with it.
        No messages if a window will have them."""
        if conversation not in self._recent.live:
            with contextlib.suppress(WorkersUnavailable, RangeGone):
                return await self._log.newest_page(conversation, limit)
        return await self._head(conversation)

    async def _known(self, conversation: str, window: Frames | None) -> int:
        """The last seq of a conversation. Raises _WindowOutdated."""
        head = await self._head(conversation)
        if outdated(window, head.changed):
            raise _WindowOutdated
        return head.known

    async def _head(self, conversation: str) -> LogPage:
        """The last seq of a conversation, and the number of its last change."""
        try:
            return await self._log.page(conversation, LAST_SEQ, 1)
        except (WorkersUnavailable, RangeGone):
            known = await self._last_seq(conversation)
            return LogPage(known, {}, changed=known)  # any of them may be a change

    async def _from_log(
        self,
        conversation: str,
        low: int,
        high: int,
        have: Frames = _NOTHING,
        window: Frames | None = None,
    ) -> _Log:
        """What it has of a range, and `have`. Raises _WindowOutdated."""
        known: int | None = None
        changed = 0
        found = dict(have)
        gone = False
        try:
            while low <= high:
                known, frames, changed = await self._log.page(conversation, low - 1, high - low + 1)
                if outdated(window, changed):
                    raise _WindowOutdated
                if not frames:
                    break
                found.update(frames)
                low += len(frames)
        except WorkersUnavailable:
            pass
        except RangeGone:
            gone = True
        return _Log(known, found, gone, changed)

    async def _complete(
        self,
        conversation: str,
        low: int,
        high: int,
        known: int | None,
        log: _Log,
        window: Frames | None,
    ) -> tuple[int, dict[int, bytes]]:
        """(last seq known, seq → frame): with what the archive has, and what the log has that is
        not archived yet. Raises _WindowOutdated."""
        if self._archive is None:
            raise (
                RangeGone(conversation)
                if log.gone
                else HistoryUnavailable(f"{conversation}: no worker answers")
            )
        reading = self._read(
            self._archive.page(conversation, before=high + 1, limit=high - low + 1)
        )
        if known is None and log.gone:  # an old page: the two need not wait for each other
            archived, known = await asyncio.gather(reading, self._known(conversation, window))
        else:
            archived = await reading
        complete = {
            message.seq: encode_frame(
                Message(
                    *(
                        message.conversation,
                        message.seq,
                        message.sender,
                        message.key.hex(),
                        message.time,
                        message.body,
                    ),
                    erased=message.erased,
                    changes=message.changes,
                    version=message.version,
                )
            )
            for message in archived
        } | log.found
        missing = min(complete, default=low)
        while missing in complete:
            missing += 1
        if missing <= high and (known is None or known >= missing):
            later = await self._from_log(conversation, missing, high, window=window)
            known = known if later.known is None else later.known
            complete.update(later.found)
            if archived and not log.gone and later.changed >= low:
                raise HistoryUnavailable(f"{conversation}: a change may not be archived yet")
        return (await self._known(conversation, window) if known is None else known), complete

    async def _last_seq(self, conversation: str) -> int:
        if self._archive is None:
            raise HistoryUnavailable(f"{conversation}: no worker answers, and there is no archive")
        return await self._read(self._archive.last_seq(conversation))

    async def _kept_from(self, conversation: str) -> int:
        """The first seq that the archive keeps, 0 if none. Raises HistoryUnavailable if what is
        before it may still come: the archive was lost, and is not restored yet."""
        if self._archive is None:
            return 0
        first = await self._read(self._archive.first_seq(conversation))
        if first > 1 and not await self._read(self._archive.has_dropped()):
            raise HistoryUnavailable(
                f"{conversation}: the archive begins with {first}, and nothing was ever dropped: "
                "it is not restored yet (docs/ARCHIVE.md)"
            )
        return first

    async def _nothing_kept(self, conversation: str, known: int) -> bool:
        """Whether retention has dropped all that the archive had of a conversation, and the log
        does not even hold the last message."""
        if self._archive is None or not await self._read(self._archive.has_dropped()):
            return False
        return (await self._from_log(conversation, known, known)).gone

    async def _read(self, question: Coroutine[Any, Any, _Answer]) -> _Answer:
        try:
            async with self._reads.place(self._asker):
                return await question
        except (ArchiveUnavailable, ArchiveRefused) as error:
            raise HistoryUnavailable(str(error)) from None
        finally:
            question.close()  # who was cancelled while it waited has asked nothing


def reaching(known: int, window: Frames | None) -> int:
    """The last seq of a conversation, of which `known` are known. A message in a window is there,
    though the worker that was asked does not know it yet."""
    return max(window) if window and known + 1 in window else known


def gapless(found: Mapping[int, bytes], low: int, high: int) -> tuple[list[bytes], int]:
    """The frames that reach up to `high` without a hole, and the seq of the first of them (high + 1
    if there is none)."""
    lowest = high + 1
    while lowest > low and lowest - 1 in found:
        lowest -= 1
    return [found[seq] for seq in range(lowest, high + 1)], lowest


def fitting(frames: Sequence[bytes], newest: bool) -> list[bytes]:
    """As many frames as fit into MAX_PAGE_BYTES, at least one: the last ones if `newest`, else the
    first."""
    kept: list[bytes] = []
    size = 0
    for frame in reversed(frames) if newest else frames:
        size += len(frame)
        if kept and size > MAX_PAGE_BYTES:
            break
        kept.append(frame)
    return kept[::-1] if newest else kept
