"""A page of history is whole or it is not sent, wherever log and archive begin and end."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from connectors.clickhouse.memory import MemoryArchive
from connectors.clickhouse.ports import ArchiveUnavailable
from connectors.redis.memory_recent import MemoryRecentWindows
from connectors.redis.memory_server import MemoryRedis, MemoryRedisServer
from connectors.redis.recent import Window
from gateway.queries.conversations import LogPage
from gateway.queries.history import History, HistoryUnavailable, Page
from gateway.queries.recent import RecentPages
from gateway.queries.worker_transport import WorkersUnavailable
from schemas.archive import Row
from schemas.codec import encode_frame
from schemas.frames import Message
from schemas.worker_api import MAX_PAGE_BYTES, Newest, RangeGone

A = "alice:bob"


class Log:
    """Messages `start`..`end`, in answers of at most `most`; what was before has expired."""

    def __init__(self, start: int, end: int, most: int = 100, body: str = "") -> None:
        self.start, self.end, self.most, self.body = start, end, most, body
        self.away = False

    async def page(self, conversation: str, after: int, limit: int) -> LogPage:
        if self.away:
            raise WorkersUnavailable("away")
        if after < self.end and after + 1 < self.start:
            raise RangeGone
        last = min(self.end, after + min(limit, self.most))
        found = {seq: frame(seq, self.body) for seq in range(after + 1, last + 1)}
        return LogPage(self.end, found)

    async def newest_page(self, conversation: str, limit: int) -> LogPage:
        return await self.page(conversation, max(0, self.end - limit), limit)

    async def newest(
        self, user: str, limit: int, before: tuple[int, str] | None
    ) -> Sequence[Newest]:
        return [Newest(self.end, A, self.end)]


def frame(seq: int, body: str = "") -> bytes:
    return encode_frame(Message(A, seq, "alice", f"{seq:032x}", seq, body or f"message {seq}"))


async def archive_of(first: int, last: int, hole: int = 0, dropped: bool = True) -> MemoryArchive:
    """`dropped`: what is before `first` is gone for good."""
    archive = MemoryArchive()
    archive.dropped = dropped
    rows = [
        Row(A, seq, seq.to_bytes(16, "big"), "alice", "d", f"message {seq}", seq, 0, 0, 0)
        for seq in range(first, last + 1)
        if seq != hole
    ]
    await archive.insert(rows, "t")
    return archive


def no_windows() -> RecentPages:
    server = MemoryRedisServer(asyncio.get_running_loop().time)
    return RecentPages(MemoryRecentWindows(MemoryRedis(server), "log"))


async def windows_with(first: int, last: int) -> RecentPages:
    """Redis has a window of these messages, if there are any."""
    server = MemoryRedisServer(asyncio.get_running_loop().time)
    windows = MemoryRecentWindows(MemoryRedis(server), "log")
    if first <= last:
        await windows.keep({A: Window(first, [frame(seq) for seq in range(first, last + 1)])}, {})
    return RecentPages(windows)


def seqs(page: Page) -> list[int]:
    return [json.loads(frame)["seq"] for frame in page.frames]


_FIRST_IS_MISSING: dict[str, Any] = {
    "kept_from": 1,
    "log_start": 1,
    "end": 2,
    "archived": 2,
    "hole": 1,
    "before": None,
    "most": 1,
    "log_away": True,
    "archive_away": False,
    "dropped": True,
    "window": (1, 0),
}


@given(
    kept_from=st.integers(1, 12),
    log_start=st.integers(1, 40),
    end=st.integers(0, 40),
    archived=st.integers(0, 40),
    hole=st.integers(0, 30),
    before=st.integers(1, 45) | st.none(),
    after=st.integers(0, 45) | st.none(),
    limit=st.integers(1, 20),
    most=st.integers(1, 20),
    log_away=st.booleans(),
    archive_away=st.booleans(),
    dropped=st.booleans(),
    window=st.tuples(st.integers(1, 40), st.integers(0, 40)),
)
@example(after=0, limit=1, **_FIRST_IS_MISSING)
@example(after=None, limit=2, **_FIRST_IS_MISSING)
@example(
    kept_from=1,
    log_start=1,
    end=1,
    archived=0,
    hole=0,
    before=1,
    after=None,
    limit=1,
    most=1,
    log_away=True,
    archive_away=False,
    dropped=False,
    window=(1, 1),
)
def test_a_page_is_whole_or_not_sent(
    kept_from: int,
    log_start: int,
    end: int,
    archived: int,
    hole: int,
    before: int | None,
    after: int | None,
    limit: int,
    most: int,
    log_away: bool,
    archive_away: bool,
    dropped: bool,
    window: tuple[int, int],
) -> None:
    async def ask() -> None:
        archive = await archive_of(kept_from, min(archived, end), hole, dropped)
        log = Log(log_start, end, most)
        log.away = log_away
        archive.away = "away" if archive_away else None
        windowed = range(window[0], min(window[1], end) + 1)
        recent = await windows_with(windowed.start, windowed.stop - 1)
        try:
            page = await History(log, archive, recent).page(
                A, before if after is None else None, after, limit
            )
        except RangeGone:
            assert dropped
            assert (archive.rows, log_start > end) == ({}, True)
            return
        except HistoryUnavailable:
            sources = set(range(log_start, end + 1)) | {seq for _, seq in archive.rows}
            assert (
                log_away or archive_away or any(seq not in sources for seq in range(1, end + 1))
            ), "for no reason"
            return
        known = page.known
        archived_to = max((seq for _, seq in archive.rows), default=0)
        assert known == end or (
            log_away
            and known == max(archived_to, windowed[-1] if archived_to + 1 in windowed else 0)
        )
        if after is not None:
            kept = min((seq for _, seq in archive.rows), default=0)
            begin = (
                max(after + 1, kept)
                if kept > after + limit
                and (log_away or log_start > after + 1)
                and not set(range(after + 1, after + limit + 1)) <= set(windowed)
                else after + 1
            )
            wanted = list(range(begin, min(begin + limit - 1, known) + 1))
        else:
            top = min(known, before - 1 if before is not None else known)
            wanted = list(range(max(1, top - limit + 1), top + 1))
        found = seqs(page)
        if found != wanted:  # retention has dropped what is missing, and nothing else
            missing = [seq for seq in wanted if seq not in found]
            assert found == wanted[len(missing) :]
            assert missing[-1] < min((seq for _, seq in archive.rows), default=0)
            assert page.first
            assert not log_away, "the log may have it"
        if page.first and not dropped and known:
            assert found[:1] == [1] or not wanted, "what is missing may still come"
        if page.first and found:
            assert found[0] in (1, windowed.start, min((seq for _, seq in archive.rows), default=1))
        if found[:1] == [1]:
            assert page.first

    asyncio.run(ask())


async def test_large_messages_make_small_pages_at_the_right_end() -> None:
    history = History(Log(1, 30, body="x" * 16_000), None, no_windows())
    newest = await history.page(A, None, None, 100)
    assert seqs(newest) == list(range(23, 31))
    assert not newest.first
    assert sum(map(len, newest.frames)) <= MAX_PAGE_BYTES
    oldest = await history.page(A, None, 0, 100)
    assert seqs(oldest) == list(range(1, 9))
    assert oldest.first


async def test_without_an_archive_the_log_is_all_there_is() -> None:
    history = History(Log(10, 30), None, no_windows())
    assert seqs(await history.page(A, None, None, 10)) == list(range(21, 31))
    with pytest.raises(RangeGone):
        await history.page(A, 15, None, 10)


async def test_an_erased_message_says_so() -> None:
    archive = await archive_of(1, 3)
    await archive.insert([Row(A, 2, b"k" * 16, "alice", "d", "", 2, 1, 0, 0)], "e")
    page = await History(Log(4, 3), archive, no_windows()).page(A, 4, None, 3)
    assert [json.loads(frame).get("erased", False) for frame in page.frames] == [False, True, False]


async def test_what_a_lost_archive_lacks_is_not_passed_over_before_it_is_restored() -> None:
    """Fault 18: the log holds 50 and up, the new archive what was written since."""
    archive, log = await archive_of(60, 90, dropped=False), Log(50, 90)
    history = History(log, archive, no_windows())
    for before, after in ((None, 0), (55, None), (None, 20)):
        with pytest.raises(HistoryUnavailable):
            await history.page(A, before, after, 40)
    assert seqs(await history.page(A, None, 49, 40)) == list(range(50, 90))
    await archive.insert(list((await archive_of(1, 59)).rows.values()), "restored")
    assert seqs(await history.page(A, None, 0, 40)) == list(range(1, 41))


async def test_where_history_begins_after_retention_or_an_accepted_loss() -> None:
    history = History(Log(50, 90), await archive_of(60, 90, dropped=True), no_windows())
    page = await history.page(A, None, 0, 40)
    assert (seqs(page), page.first) == (list(range(60, 91)), True)


async def test_a_conversation_of_which_retention_has_left_nothing_is_gone() -> None:
    history = History(Log(10, 9), await archive_of(1, 0, dropped=True), no_windows())
    for before, after in ((None, 0), (None, None), (5, None)):
        with pytest.raises(RangeGone):
            await history.page(A, before, after, 40)
    for log, dropped in ((Log(10, 9), False), (Log(10, 20), True)):
        with pytest.raises(HistoryUnavailable):
            await History(log, await archive_of(1, 0, dropped=dropped), no_windows()).page(
                A, None, 0, 5
            )


async def test_a_conversation_whose_last_message_is_not_kept_is_listed() -> None:
    ((newest, last),) = await History(Log(10, 9), None, no_windows()).conversations(
        "alice", 5, None
    )
    assert (newest.conversation, newest.seq, last) == (A, 9, None)


async def test_users_take_turns_at_the_archive_however_much_one_of_them_asks() -> None:
    asked: list[str] = []

    class SlowArchive(MemoryArchive):
        async def page(self, conversation: str, **bounds: Any) -> Any:
            asked.append(conversation)
            await let_go.acquire()
            raise ArchiveUnavailable("enough")

    class Listed(Log):
        async def newest(self, user: str, limit: int, before: object) -> Sequence[Newest]:
            return [Newest(1, f"eve:x{number}", 1) for number in range(limit)]

    let_go = asyncio.Semaphore(0)
    log = Listed(1, 1)
    log.away = True
    history = History(log, SlowArchive(), no_windows())
    flood = [
        *(history.of("eve").page(f"eve:z{number}", 10, None, 9) for number in range(50)),
        *(history.conversations("eve", 100, None) for _ in range(8)),
    ]
    tasks = [asyncio.create_task(one) for one in flood]
    await asyncio.sleep(0)
    while len(asked) < 16:
        await asyncio.sleep(0)
    for page in (history.of("alice").page(A, 10, None, 9), history.of("bob").page(A, 10, None, 9)):
        tasks.append(asyncio.create_task(page))
    while history._reads.waiting < 50 - 16 + 8 * 4 + 2:  # of a list, four at once
        await asyncio.sleep(0)
    tasks[20].cancel()
    for _ in range(4):
        let_go.release()
    async with asyncio.timeout(60):
        while asked.count(A) < 2:
            await asyncio.sleep(0)
    assert len(asked) <= 16 + 4
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert history._reads.waiting == 0
    async with asyncio.timeout(60):
        let_go = asyncio.Semaphore(1000)
        for _ in range(20):
            with pytest.raises(HistoryUnavailable):
                await history.of("alice").page(A, 10, None, 9)
