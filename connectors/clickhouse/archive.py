"""Messages and cursors in the archive: the port, and ClickHouse behind it."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from clickhouse_connect.driver.asyncclient import AsyncClient

from connectors.clickhouse.client import ArchiveRefused, ClickHouseClient
from schemas.archive import ERASURE, CursorRow, Row, migrations
from schemas.ids import members_of_valid

TABLE = "archive.messages"
TYPES = {
    "conversation": "String",
    "seq": "UInt64",
    "key": "FixedString(16)",
    "sender": "String",
    "device": "String",
    "body": "String",
    "time": "DateTime64(3, 'UTC')",
    "version": "UInt8",
    "log_partition": "UInt16",
    "log_offset": "UInt64",
}
"""Told with each insert, or the client would ask for them each time."""
CURSORS = "archive.cursors"
CURSOR_TYPES = {
    "conversation": "String",
    "user": "String",
    "kind": "LowCardinality(String)",
    "up_to": "UInt64",
    "time": "DateTime64(3, 'UTC')",
}
_MESSAGE = "conversation, seq, key, sender, device, toUnixTimestamp64Milli(time), body, version"


class ArchiveMismatch(Exception):
    """The archive is not one this code may write; the text says what to do."""


class ArchivedMessage(NamedTuple):
    """`time` in ms of log time, `key` 16 bytes. An erased one has no body."""

    conversation: str
    seq: int
    key: bytes
    sender: str
    device: str
    time: int
    body: str
    erased: bool


class ArchivedConversation(NamedTuple):
    """Last number and log time (ms) of a conversation, as far as the archive has come."""

    time: int
    conversation: str
    seq: int


class Archive(Protocol):
    """All methods raise ArchiveUnavailable, and ArchiveRefused when an operator must act."""

    async def prepare(self, numbering: str) -> None:
        """See that tables are as this code needs them and that they hold this numbering (topic id of `messages.submitted`),
        or none yet. Raises ArchiveMismatch."""

    async def insert(self, rows: Sequence[Row], token: str) -> None:
        """Bring rows in, in one block; when it returns they are there. A repeat with the same token costs nothing, any other
        repeat is harmless: readers see one row for a (conversation, seq)."""

    async def insert_cursors(self, rows: Sequence[CursorRow], token: str) -> None:
        """The same for cursors; a (conversation, user, kind, up_to) that comes again with another time keeps the earliest."""

    async def page(
        self, conversation: str, *, before: int | None = None, after: int | None = None, limit: int
    ) -> Sequence[ArchivedMessage]:
        """`before`: the messages of seq before-1, before-2 … (newest first); `after`: after+1, after+2 … (oldest first); at
        most `limit`. A number that is not archived (yet, or any more) is missing: the caller looks whether there is a hole."""

    async def find(self, places: Sequence[tuple[str, int]]) -> Sequence[ArchivedMessage]:
        """The messages at these (conversation, seq), in any order; what is not archived is missing."""

    async def last_seq(self, conversation: str) -> int:
        """The highest number that was archived of a conversation, 0 if none."""

    async def first_seq(self, conversation: str) -> int:
        """The lowest number that is in the archive of a conversation, 0 if none."""

    async def conversations(
        self, user: str, limit: int, before: tuple[int, str] | None = None
    ) -> Sequence[ArchivedConversation]:
        """A user's conversations, last written first; `before` is (time, conversation) of the last one seen."""

    async def close(self) -> None: ...


class ClickHouseArchive:
    """`Archive` on a ClickHouse server."""

    def __init__(self, client: ClickHouseClient) -> None:
        self._client = client

    async def prepare(self, numbering: str) -> None:
        try:
            applied = await self._client.call(lambda client: client.query("SELECT max(number) FROM archive.migrations"))
        except ArchiveRefused as error:
            raise ArchiveRefused(f"{error}; has `messenger archive migrate` run?") from None
        reason = schema_differs(int(applied.result_rows[0][0]))
        if reason is not None:
            raise ArchiveMismatch(reason)
        found = await self._client.call(lambda client: client.query("SELECT DISTINCT submitted FROM archive.numbering"))
        reason = numbering_differs({str(row[0]) for row in found.result_rows}, numbering)
        if reason is not None:
            raise ArchiveMismatch(reason)
        if not found.result_rows:
            await self._client.call(
                lambda client: client.insert("archive.numbering", [[numbering]], ["submitted"], column_type_names=["String"])
            )

    async def insert(self, rows: Sequence[Row], token: str) -> None:
        await self._insert(TABLE, TYPES, rows, token)

    async def insert_cursors(self, rows: Sequence[CursorRow], token: str) -> None:
        await self._insert(CURSORS, CURSOR_TYPES, rows, token)

    async def _insert(self, table: str, types: Mapping[str, str], rows: Sequence[tuple[Any, ...]], token: str) -> None:
        columns = list(zip(*rows, strict=True))

        async def ask(client: AsyncClient) -> None:
            context = await client.create_insert_context(
                table,
                list(types),
                column_type_names=list(types.values()),
                column_oriented=True,
                settings={"insert_deduplication_token": token, "async_insert": 0},
                data=columns,
            )
            try:
                await client.insert(context=context)
            finally:
                vars(context).clear()  # it refers to itself: 5 MB a block until the collector comes by, which is seldom here

        await self._client.call(ask)

    async def page(
        self, conversation: str, *, before: int | None = None, after: int | None = None, limit: int
    ) -> Sequence[ArchivedMessage]:
        # numbers are dense: without the second bound the whole conversation would be read
        if before is not None:
            low, high = max(1, before - limit), max(0, before - 1)
        else:
            low, high = (after or 0) + 1, (after or 0) + limit
        found = await self._messages(
            "conversation = {conversation:String} AND seq BETWEEN {low:UInt64} AND {high:UInt64}",
            {"conversation": conversation, "low": low, "high": high},
        )
        return sorted(found, key=lambda message: message.seq, reverse=before is not None)

    async def find(self, places: Sequence[tuple[str, int]]) -> Sequence[ArchivedMessage]:
        if not places:
            return []
        names, seqs = zip(*places, strict=True)
        return await self._messages(
            "(conversation, seq) IN arrayZip({names:Array(String)}, {seqs:Array(UInt64)})",
            {"names": list(names), "seqs": list(seqs)},
        )

    async def _messages(self, where: str, parameters: dict[str, object]) -> list[ArchivedMessage]:
        """`where` must leave all rows of a (conversation, seq) or none: what FINAL would do, at half of its price."""
        text = f"SELECT {_MESSAGE} FROM {TABLE} WHERE {where} SETTINGS max_threads = 1"
        found = await self._client.call(lambda client: client.query(text, parameters))
        rows: dict[tuple[str, int], tuple[int, ArchivedMessage]] = {}
        for *fields, version in found.result_rows:
            message = ArchivedMessage._make((*fields, version == ERASURE))
            place = message.conversation, message.seq
            if place not in rows or rows[place][0] < version:
                rows[place] = version, message
        return [message for _, message in rows.values()]

    async def last_seq(self, conversation: str) -> int:
        user, _ = members_of_valid(conversation)
        text = (
            "SELECT max(seq) FROM archive.user_conversations "
            "WHERE user = {user:String} AND conversation = {conversation:String}"
        )
        found = await self._client.call(lambda client: client.query(text, {"user": user, "conversation": conversation}))
        return int(found.result_rows[0][0])

    async def first_seq(self, conversation: str) -> int:
        text = f"SELECT seq FROM {TABLE} WHERE conversation = {{conversation:String}} ORDER BY conversation, seq LIMIT 1"
        found = await self._client.call(lambda client: client.query(text, {"conversation": conversation}))
        return int(found.result_rows[0][0]) if found.result_rows else 0

    async def conversations(
        self, user: str, limit: int, before: tuple[int, str] | None = None
    ) -> Sequence[ArchivedConversation]:
        text = (
            "SELECT toUnixTimestamp64Milli(max(c.time)) AS last, c.conversation AS name, max(c.seq) "
            "FROM archive.user_conversations AS c WHERE c.user = {user:String} GROUP BY name "
            "HAVING {all:UInt8} OR (last, name) < ({time:Int64}, {after:String}) "
            "ORDER BY last DESC, name DESC LIMIT {limit:UInt32} SETTINGS max_threads = 1"
        )
        time, after = before or (0, "")
        parameters = {"user": user, "all": int(before is None), "time": time, "after": after, "limit": limit}
        found = await self._client.call(lambda client: client.query(text, parameters))
        return [ArchivedConversation(*row) for row in found.result_rows]

    async def close(self) -> None:
        await self._client.close()


def schema_differs(applied: int) -> str | None:
    """Why tables of migration `applied` do not fit this code, or None."""
    wanted = migrations()[-1].number
    if applied < wanted:
        return f"the archive's tables are of migration {applied}, this code needs {wanted}: run `messenger archive migrate`"
    if applied > wanted:
        return f"the archive's tables are of migration {applied}, this code knows {wanted}: deploy the newer code"
    return None


def numbering_differs(found: set[str], numbering: str) -> str | None:
    """Why an archive of these numberings may not take messages of `numbering`, or None."""
    if found <= {numbering}:
        return None
    return (
        f"the archive holds the numbering of input topic {', '.join(sorted(found))}, Kafka has {numbering}: the same numbers "
        "would mean other messages. Back the archive up, drop its database, migrate again"
    )
