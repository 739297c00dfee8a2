"""The faults that are planted in the archive and in Redis. Kafka holds honest data of these."""

from collections.abc import Callable, Sequence
from typing import Any

from connectors.redis.recent import Window
from ops.audit.verdict import Finding, Place
from tests.planted.plant import Laid, Plant, Store

ARCHIVE = "archive"
WINDOW = "window in Redis"


def found(kind: str, topic: str, seq: int, text: str) -> Callable[[Laid], Finding]:
    """A finding of the plant's conversation in another store. {reader} in the text stands for its
    second member."""

    def finding(laid: Laid) -> Finding:
        said = text.format(reader=laid.conversation.split(":")[1])
        return Finding(kind, Place(topic, conversation=laid.conversation, seq=seq), said)

    return finding


def route(text: str) -> Callable[[Laid], Finding]:
    """A finding of the route of the plant's first member."""

    def finding(laid: Laid) -> Finding:
        user = laid.conversation.split(":")[0]
        return Finding("phantom", Place(f"route of {user}/phone in Redis"), text)

    return finding


def other_row(store: Store, of: int, **fields: Any) -> Store:
    """One more row, with other content."""
    row = store.rows[of - 1]._replace(**fields)
    return store._replace(rows=[*store.rows, row])


def without_row(store: Store) -> Store:
    return store._replace(rows=[store.rows[0], store.rows[2]])


def changed_row(store: Store) -> Store:
    first, second, third = store.rows
    return store._replace(rows=[first, second._replace(body="other"), third])


def window(change: Callable[[Sequence[bytes]], Sequence[bytes]]) -> Callable[[Store], Store]:
    def spoiled(store: Store) -> Store:
        (whole,) = store.windows
        return store._replace(windows=[Window(whole.first, change(whole.frames))])

    return spoiled


def other_body(frames: Sequence[bytes]) -> Sequence[bytes]:
    first, second, third = frames
    assert b"message 2" in second
    return [first, second.replace(b"message 2", b"message X"), third]


def moved(frames: Sequence[bytes]) -> Sequence[bytes]:
    return frames[1:]


def one_more(frames: Sequence[bytes]) -> Sequence[bytes]:
    more = frames[2].replace(b'"seq":3', b'"seq":4')
    assert more != frames[2]
    return [*frames, more]


def no_message(frames: Sequence[bytes]) -> Sequence[bytes]:
    return [*frames[:2], b"{"]


def leads_to(value: str) -> Callable[[Store], Store]:
    """The first member's phone has this route."""

    def spoiled(store: Store) -> Store:
        user = store.rows[0].conversation.split(":")[0]
        return store._replace(routes=[(user, "phone", value)])

    return spoiled


def cursor_ahead(store: Store) -> Store:
    (row,) = store.archived_cursors
    return store._replace(archived_cursors=[row, row._replace(up_to=99)])


NODE, ITS_SLOT, NO_SLOT = "planted-node", 5, 6
"""Tests let this node hold that slot; nobody holds the other one."""

STORE_PLANTS: Sequence[Plant] = (
    Plant(
        "archive: a row is missing",
        "ArchiveAudit._check_missing",
        found("lost-write", ARCHIVE, 2, "the log has it; the archive lacks it"),
        spoil=without_row,
    ),
    Plant(
        "archive: a row has another body",
        "ArchiveAudit._check_content",
        found("inconsistent-offsets", ARCHIVE, 2, "the archive has other content"),
        spoil=changed_row,
    ),
    Plant(
        "archive: a second row of a number, with other content",
        "ArchiveAudit._check_twice",
        found("inconsistent-offsets", ARCHIVE, 2, "the archive has several contents of it"),
        spoil=lambda store: other_row(store, 2, body="other"),
    ),
    Plant(
        "archive: a number that no message has",
        "ArchiveAudit._check_beyond",
        found("phantom", ARCHIVE, 99, "the archive has it; the log does not come to it"),
        spoil=lambda store: other_row(store, 2, seq=99),
    ),
    Plant(
        "archive: a cursor that nobody has raised so far",
        "CursorAudit._check_ahead",
        found(
            "phantom",
            ARCHIVE,
            0,
            "the archive has the cursor 'read' of {reader} at 99; the topic never came to it",
        ),
        spoil=cursor_ahead,
    ),
    Plant(
        "archive: a cursor is missing",
        "CursorAudit._check_behind",
        found(
            "lost-write",
            ARCHIVE,
            0,
            "the archive has the cursor 'read' of {reader} at 0, the topic at 3",
        ),
        spoil=lambda store: store._replace(archived_cursors=[]),
    ),
    Plant(
        "Redis: a window has another body than the log",
        "Claims._check_content",
        found("inconsistent-offsets", WINDOW, 2, "it is in a window with other content"),
        spoil=window(other_body),
    ),
    Plant(
        "Redis: a window's messages stand one place too early",
        "RedisAudit._check_place",
        found("inconsistent-offsets", WINDOW, 1, "another message stands in its place"),
        spoil=window(moved),
    ),
    Plant(
        "Redis: a window goes on beyond the log",
        "Claims._check_never",
        found("phantom", WINDOW, 4, "it is in a window; the input does not come to it"),
        spoil=window(one_more),
    ),
    Plant(
        "Redis: a window holds what is no message",
        "RedisAudit._check_readable",
        found(
            "phantom",
            WINDOW,
            3,
            "nobody can read it: BAD_FRAME: Input data was truncated",
        ),
        spoil=window(no_message),
    ),
    Plant(
        "Redis: a route to a slot that does not exist",
        "RedisAudit._check_route",
        route("it names no slot that there is"),
        spoil=leads_to(f"{NODE} 8 1"),
    ),
    Plant(
        "Redis: a route to a slot that its node does not hold",
        "RedisAudit._check_lease",
        route("its node lives, and holds another slot"),
        spoil=leads_to(f"{NODE} {NO_SLOT} 1"),
    ),
)
