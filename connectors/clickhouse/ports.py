"""The archive as the rest of the code sees it. `ClickHouseArchive` is the real one, `MemoryArchive`
its twin. Who needs no archive imports this alone: ClickHouse's client takes long to import."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, Self

from schemas.archive import CursorRow, Row, changed_by, is_erased
from schemas.numbering import Numbering


class ArchiveUnavailable(Exception):
    """ClickHouse does not answer, or is overloaded; try again."""


class ArchiveRefused(Exception):
    """ClickHouse refuses (password, rights, tables), and an operator must act. The text is the
    server's."""


class ArchiveMismatch(Exception):
    """The archive is not one this code may write; the text says what to do."""


class ArchivedMessage(NamedTuple):
    """`time` in ms of log time, `key` 16 bytes. An erased one has no body. `changes`, `version` as
    in schemas.frames.Message."""

    conversation: str
    seq: int
    key: bytes
    sender: str
    device: str
    time: int
    body: str
    changes: int
    version: int
    erased: bool

    @classmethod
    def of(cls, fields: Sequence[Any], version: int) -> Self:
        """From its first eight fields, and the version."""
        return cls._make((*fields, changed_by(version), is_erased(version)))

    def as_changed(self, message: Self) -> Self:
        """A change, as its `message` is now."""
        return self._replace(body=message.body, version=message.version, erased=message.erased)


class Archive(Protocol):
    """All methods raise ArchiveUnavailable, and ArchiveRefused when an operator must act."""

    async def prepare(self, numbering: Numbering) -> None:
        """Check that the tables are as this code needs them, and that they hold this numbering, or
        none yet. Raises ArchiveMismatch."""

    async def insert(self, rows: Sequence[Row], token: str) -> None:
        """Insert rows in one block; they are durable when it returns. A repeat with the same token
        costs little, and any other repeat is harmless: readers see one row for each (conversation,
        seq)."""

    async def insert_cursors(self, rows: Sequence[CursorRow], token: str) -> None:
        """Insert cursors likewise. A (conversation, user, kind, up_to) that is repeated with
        another time keeps the earliest time."""

    async def page(
        self, conversation: str, *, before: int | None = None, after: int | None = None, limit: int
    ) -> Sequence[ArchivedMessage]:
        """`before`: the messages of seq before-1, before-2 … (newest first); `after`: after+1,
        after+2 … (oldest first); at most `limit`. A number that is not archived (yet, or any more)
        is missing: the caller looks whether there is a hole."""

    async def last_seq(self, conversation: str) -> int:
        """The highest number that was archived of a conversation, 0 if none."""

    async def first_seq(self, conversation: str) -> int:
        """The lowest number that is in the archive of a conversation, 0 if none."""

    async def has_dropped(self) -> bool:
        """Whether messages are gone for good, by retention or because an operator has accepted
        their loss. If not, a conversation whose first number here is above 1 is not whole yet."""

    async def answers(self) -> None:
        """Returns if it is there, and has let us in within the last half minute."""

    async def close(self) -> None: ...
