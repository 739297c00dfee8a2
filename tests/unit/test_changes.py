"""Edits and deletions (R18): who may make them, and what a page shows of them."""

import asyncio
import json

import pytest

from connectors.clickhouse.erasing import Erasable
from connectors.kafka.memory import MemoryKafka
from connectors.kafka.memory_broker import MemoryBroker
from connectors.redis.memory_recent import MemoryRecentWindows
from connectors.redis.memory_server import MemoryRedis, MemoryRedisServer
from connectors.redis.recent import Window
from gateway.change_gate import ChangeGate
from gateway.effects import Change, Submit
from gateway.queries.changes import with_changes
from gateway.queries.conversations import LogPage
from gateway.queries.history import History, HistoryUnavailable
from gateway.queries.recent import RecentPages
from gateway.submit import PRODUCER, Submitter
from ops.erasing import Deletions
from schemas.codec import decode_message, encode_frame
from schemas.codes import Code
from schemas.events import Changed, ChangeSubmitted, MessageSubmitted, RefusalSubmitted
from schemas.frames import Message
from schemas.submitted_codec import decode_submitted
from schemas.topics import SUBMITTED
from tests.harness.memory_node import SEND
from tests.unit.test_history import A, Log, archive_of
from tests.unit.test_session import error_code, online, receive

DAY = 86_400.0
ITEM = MessageSubmitted(A, "alice", "phone", bytes(16), 1, b"\xff" * 16, 1, "new")


def message(seq: int, body: str, changes: int = 0) -> bytes:
    version = seq if changes else 0
    erased = bool(changes) and not body
    frame = Message(A, seq, "alice", f"{seq:032x}", seq, body, erased, changes, version)
    return encode_frame(frame)


def texts(frames: dict[int, bytes]) -> list[tuple[int, str, int, bool]]:
    decoded = map(decode_message, frames.values())
    return [(one.seq, one.body, one.version, one.erased) for one in decoded]


def shown(*frames: bytes) -> list[tuple[int, str, int, bool]]:
    return texts(dict(with_changes(dict(enumerate(frames, 1)))))


def test_messages_and_changes_show_the_last_text() -> None:
    frames = message(1, "one"), message(2, "two"), message(3, "1st", 1), message(4, "2nd", 1)
    assert shown(*frames) == [
        (1, "2nd", 4, False),
        (2, "two", 0, False),
        (3, "2nd", 4, False),
        (4, "2nd", 4, False),
    ]


def test_a_deletion_is_final_also_for_the_text_of_a_later_change() -> None:
    frames = message(1, "one"), message(2, "", 1), message(3, "too late", 1)
    assert [one[1:2] + one[3:] for one in shown(*frames)] == [("", True)] * 3


def test_a_frame_with_a_newer_text_than_the_window_s_changes_keeps_it() -> None:
    """A page of the log was kept, and then an older window's rest stands beside it."""
    newer = Message(A, 1, "alice", "00", 1, "5th", version=5)
    assert shown(encode_frame(newer), message(2, "2nd", 1))[0] == (1, "5th", 5, False)


def test_a_body_that_looks_like_a_change_is_none() -> None:
    frame = message(1, 'x","changes":1,"version":9')
    assert with_changes({1: frame}) == {1: frame}


class ChangedLog(Log):
    """Message 2 was changed by the last message."""

    def __init__(self, end: int) -> None:
        super().__init__(1, end)

    async def page(self, conversation: str, after: int, limit: int) -> LogPage:
        page = await super().page(conversation, after, limit)
        changed = Message(A, 2, "alice", "00", 2, "new", version=self.end)
        found = {**page.found, 2: encode_frame(changed)} if 2 in page.found else page.found
        return LogPage(page.known, found, self.end)


async def windows(last: int) -> RecentPages:
    """Redis has a window of messages 1 to `last`, as they were."""
    kept = MemoryRecentWindows(
        MemoryRedis(MemoryRedisServer(asyncio.get_running_loop().time)), "log"
    )
    frames = [message(seq, f"message {seq}") for seq in range(1, last + 1)]
    await kept.keep({A: Window(1, frames)}, {})
    return RecentPages(kept)


@pytest.mark.parametrize("bounds", [(None, None), (5, None), (None, 0)])
@pytest.mark.parametrize("away", [False, True])
async def test_a_window_that_ends_before_the_last_change_is_not_used(
    bounds: tuple[int | None, int | None], away: bool
) -> None:
    """If no worker says which the last change is, any message after the window may be it."""
    log = ChangedLog(9)
    log.away = away
    archive = await archive_of(1, 9)
    archive.rows[A, 2] = archive.rows[A, 2]._replace(body="new", version=9)
    page = await History(log, archive, await windows(8)).page(A, *bounds, limit=9)
    assert json.loads(page.frames[1])["body"] == "new"


async def test_what_may_not_be_archived_yet_is_asked_for_again() -> None:
    """The worker was away for a moment, so message 2 came from the archive."""
    log = ChangedLog(9)
    away = iter([True])
    page = log.page

    async def after_a_moment(conversation: str, after: int, limit: int) -> LogPage:
        log.away = next(away, False)
        return await page(conversation, after, limit)

    log.page = after_a_moment  # type: ignore[method-assign]
    with pytest.raises(HistoryUnavailable):
        await History(log, await archive_of(1, 8), await windows(0)).page(A, 10, None, 9)


def gate(end: int = 5, now: int = 5, seconds: float = DAY) -> ChangeGate:
    history = History(ChangedLog(end), None, RecentPages(MemoryRecentWindows(_redis(), "log")))
    return ChangeGate(history, seconds, lambda: now)


def _redis() -> MemoryRedis:
    return MemoryRedis(MemoryRedisServer(asyncio.get_running_loop().time))


async def test_a_change_of_an_own_message_names_it() -> None:
    head = A, "alice", "phone", bytes(16), 1, b"\xff" * 16, 1
    changed = Changed(3, (3).to_bytes(16), 3)
    assert await gate().judge(ITEM, 3) == ChangeSubmitted(*head, "new", changed)


async def test_it_is_refused_if_it_is_not_the_user_s_or_too_old() -> None:
    of_bob = MessageSubmitted(A, "bob", "phone", bytes(16), 1, b"\xff" * 16, 1, "new")
    refused = await gate().judge(of_bob, 3)
    assert isinstance(refused, RefusalSubmitted)
    assert (refused.code, refused.sender) == (Code.CHANGE_NOT_YOURS.number, "bob")
    refused = await gate(now=1004, seconds=1).judge(ITEM, 3)
    assert isinstance(refused, RefusalSubmitted)
    assert refused.code == Code.CHANGE_TOO_LATE.number
    assert isinstance(await gate(now=1003, seconds=1).judge(ITEM, 3), ChangeSubmitted)


@pytest.mark.parametrize(
    ("frame", "code"),
    [(message(3, "", 1), Code.CHANGE_UNKNOWN), (None, Code.CHANGE_OF_DELETED)],
)
async def test_neither_a_change_nor_what_is_deleted_is_changed(
    frame: bytes | None, code: Code, monkeypatch: pytest.MonkeyPatch
) -> None:
    erased = encode_frame(Message(A, 3, "alice", "00" * 16, 3, "", erased=True, version=4))
    monkeypatch.setattr("tests.unit.test_history.frame", lambda seq, body: frame or erased)
    refused = await gate().judge(ITEM, 3)
    assert isinstance(refused, RefusalSubmitted)
    assert refused.code == code.number


async def test_of_a_number_that_is_not_known_yet_nobody_says_anything() -> None:
    assert await gate(end=5).judge(ITEM, 6) is None


def test_edit_and_delete_are_changes() -> None:
    head = {name: SEND[name] for name in ("to", "outbox", "ordinal", "key", "round")}
    session = online()
    (edit,) = receive(session, {"t": "edit", **head, "seq": 3, "body": "new"})
    assert edit == Change(ITEM, "bob", True, 3)
    (delete,) = receive(session, {"t": "delete", **head, "seq": 3})
    assert isinstance(delete, Change)
    assert (delete.item.body, delete.seq) == ("", 3)
    (empty,) = receive(session, {"t": "edit", **head, "seq": 3, "body": ""})
    assert isinstance(empty, Submit)
    assert isinstance(empty.item, RefusalSubmitted)
    (wrong,) = receive(session, {"t": "delete", **head, "seq": 0})
    assert error_code(wrong) == Code.BAD_FIELD.number


async def test_a_record_with_a_change_is_for_code_that_knows_changes() -> None:
    """And one without is for older code, too."""
    kafka = MemoryKafka(MemoryBroker({SUBMITTED: 1}))
    submitter = Submitter(kafka.producer(PRODUCER), 1, lambda: None)
    changed = ChangeSubmitted(
        A, "alice", "phone", bytes(16), 2, bytes(16), 1, "", Changed(1, b"k" * 16, 1)
    )
    for item in (ITEM, changed, ITEM):
        submitter.submit(item, lambda code: None)
        await asyncio.sleep(0.01)
    values = [record.value for record in kafka.broker.read_all(SUBMITTED, 0)]
    assert [value[1] for value in values] == [1, 2, 1]
    assert [decode_submitted(value) for value in values] == [[ITEM], [changed], [ITEM]]


def test_an_operator_s_deletions_are_numbered_by_conversation_and_author() -> None:
    deletions = Deletions(b"o" * 16)
    carols = "alice:carol"
    asked = [(A, 1, "alice"), (A, 2, "bob"), (A, 3, "alice"), (carols, 1, "alice")]
    records = [deletions.of(Erasable(name, seq, b"k" * 16, by, 7)) for name, seq, by in asked]
    items = [item for record in records for item in decode_submitted(record)]
    assert all(isinstance(item, ChangeSubmitted) and not item.body for item in items)
    assert [
        (one.conversation, one.sender, one.ordinal, one.changes)
        for one in items
        if isinstance(one, ChangeSubmitted)
    ] == [
        (A, "alice", 1, Changed(1, b"k" * 16, 7)),
        (A, "bob", 1, Changed(2, b"k" * 16, 7)),
        (A, "alice", 2, Changed(3, b"k" * 16, 7)),
        (carols, "alice", 1, Changed(1, b"k" * 16, 7)),
    ]
