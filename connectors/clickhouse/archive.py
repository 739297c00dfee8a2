"""Messages and cursors in the archive: ClickHouse behind the port."""

import asyncio
from collections.abc import Mapping, Sequence, Set
from typing import Any, NamedTuple

from clickhouse_connect.driver.asyncclient import AsyncClient

from connectors.clickhouse.client import ClickHouseClient
from connectors.clickhouse.ports import ArchivedMessage, ArchiveMismatch, ArchiveRefused
from connectors.request_batcher import RequestBatcher
from schemas.archive import CursorRow, Row, migrations
from schemas.ids import members_of_valid
from schemas.numbering import Numbering, partitions_differ

TABLE = "archive.messages"
TYPES = {
    "conversation": "String",
    "seq": "UInt64",
    "key": "FixedString(16)",
    "sender": "String",
    "device": "String",
    "body": "String",
    "time": "DateTime64(3, 'UTC')",
    "version": "UInt64",
    "log_partition": "UInt16",
    "log_offset": "UInt64",
    "changes": "UInt64",
}
"""Sent with each insert. Otherwise the client would ask the server for them each time."""
CURSORS = "archive.cursors"
CURSOR_TYPES = {
    "conversation": "String",
    "user": "String",
    "kind": "LowCardinality(String)",
    "up_to": "UInt64",
    "time": "DateTime64(3, 'UTC')",
}
_MADE_FOR = "archive.made_for"
MADE_FOR = {
    "submitted": "String",
    "log": "String",
    "partitions": "UInt32",
    "fold_version": "UInt32",
}
"""The columns that a `Numbering` is kept in."""
_AT_ONCE, _TOGETHER = 2, 16
"""Queries for pages at the same time, and pages in one query."""
_LET_IN_SECONDS = 30.0
"""How long a login that was good counts. Meanwhile a ping tells whether the server is there, for a
twelfth of a query's CPU time."""
_MESSAGE = (
    "conversation, seq, key, sender, device, toUnixTimestamp64Milli(time), body, changes, version"
)


class _Stretch(NamedTuple):
    """The messages low..high of a conversation."""

    conversation: str
    low: int
    high: int


class ClickHouseArchive:
    """`Archive` on a ClickHouse server."""

    def __init__(self, client: ClickHouseClient) -> None:
        self._client = client
        self._pages = RequestBatcher(self._read, _AT_ONCE, _TOGETHER)
        self._let_in_until = float("-inf")

    async def prepare(self, numbering: Numbering) -> None:
        try:
            applied = await self._client.call(
                lambda client: client.query("SELECT max(number) FROM archive.migrations")
            )
        except ArchiveRefused as error:
            raise ArchiveRefused(f"{error}; has `messenger archive migrate` run?") from None
        reason = schema_differs(int(applied.result_rows[0][0]))
        if reason is not None:
            raise ArchiveMismatch(reason)
        found = await self._client.call(
            lambda client: client.query("SELECT DISTINCT submitted FROM archive.numbering")
        )
        topic = numbering.input_topic
        reason = numbering_differs({str(row[0]) for row in found.result_rows}, topic)
        if reason is not None:
            raise ArchiveMismatch(reason)
        if not found.result_rows:
            await self._client.call(
                lambda client: client.insert(
                    "archive.numbering", [[topic]], ["submitted"], column_type_names=["String"]
                )
            )
        made_for = await self._client.call(
            lambda client: client.query(f"SELECT DISTINCT {', '.join(MADE_FOR)} FROM {_MADE_FOR}")
        )
        kept = {Numbering(*row) for row in made_for.result_rows}
        reason = made_for_differs(kept, numbering)
        if reason is not None:
            raise ArchiveMismatch(reason)
        if numbering not in kept:
            await self._client.call(
                lambda client: client.insert(
                    _MADE_FOR,
                    [list(numbering)],
                    list(MADE_FOR),
                    column_type_names=list(MADE_FOR.values()),
                )
            )

    async def insert(self, rows: Sequence[Row], token: str) -> None:
        await self._insert(TABLE, TYPES, rows, token)

    async def insert_cursors(self, rows: Sequence[CursorRow], token: str) -> None:
        await self._insert(CURSORS, CURSOR_TYPES, rows, token)

    async def _insert(
        self, table: str, types: Mapping[str, str], rows: Sequence[tuple[Any, ...]], token: str
    ) -> None:
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
                # It refers to itself, and keeps 5 MB a block until the garbage collector runs,
                # which it seldom does here.
                vars(context).clear()

        await self._client.call(ask)

    async def page(
        self, conversation: str, *, before: int | None = None, after: int | None = None, limit: int
    ) -> Sequence[ArchivedMessage]:
        # numbers are dense: without the second bound the whole conversation would be read
        if before is not None:
            low, high = max(1, before - limit), max(0, before - 1)
        else:
            low, high = (after or 0) + 1, (after or 0) + limit
        found = [
            message if not message.changes else await self._as_changed(message)
            for message in await self._pages(_Stretch(conversation, low, high))
        ]
        return found[::-1] if before is not None else found

    async def _as_changed(self, change: ArchivedMessage) -> ArchivedMessage:
        """A change with the text of its message, which has a row of its own."""
        found = await self._pages(_Stretch(change.conversation, change.changes, change.changes))
        return change.as_changed(found[0]) if found else change

    async def _read(self, stretches: Sequence[_Stretch]) -> Sequence[Sequence[ArchivedMessage]]:
        wheres, parameters = [], dict[str, object]()
        for n, (conversation, low, high) in enumerate(stretches):
            wheres.append(
                f"conversation = {{c{n}:String}} AND seq BETWEEN {{l{n}:UInt64}} AND "
                f"{{h{n}:UInt64}}"
            )
            parameters |= {f"c{n}": conversation, f"l{n}": low, f"h{n}": high}
        # all rows of a (conversation, seq) or none: what FINAL would do is done here, at half of
        # its price
        text = (
            f"SELECT {_MESSAGE} FROM {TABLE} WHERE {' OR '.join(wheres)} SETTINGS max_threads = 1"
        )
        found = await self._client.call(lambda client: client.query(text, parameters))
        rows: dict[str, dict[int, tuple[int, ArchivedMessage]]] = {}
        for *fields, version in found.result_rows:
            message = ArchivedMessage.of(fields, version)
            messages = rows.setdefault(message.conversation, {})
            if message.seq not in messages or messages[message.seq][0] < version:
                messages[message.seq] = version, message
        pages = []
        for conversation, low, high in stretches:
            messages = rows.get(conversation, {})
            pages.append(
                [messages[seq][1] for seq in sorted(messages.keys() & range(low, high + 1))]
            )
        return pages

    async def last_seq(self, conversation: str) -> int:
        user, _ = members_of_valid(conversation)
        text = (
            "SELECT max(seq) FROM archive.user_conversations "
            "WHERE user = {user:String} AND conversation = {conversation:String}"
        )
        found = await self._client.call(
            lambda client: client.query(text, {"user": user, "conversation": conversation})
        )
        return int(found.result_rows[0][0])

    async def first_seq(self, conversation: str) -> int:
        text = (
            f"SELECT seq FROM {TABLE} WHERE conversation = {{conversation:String}} ORDER BY "
            "conversation, seq LIMIT 1"
        )
        found = await self._client.call(
            lambda client: client.query(text, {"conversation": conversation})
        )
        return int(found.result_rows[0][0]) if found.result_rows else 0

    async def has_dropped(self) -> bool:
        found = await self._client.call(
            lambda client: client.query("SELECT count() FROM archive.dropped")
        )
        return bool(found.result_rows[0][0])

    async def answers(self) -> None:
        now = asyncio.get_running_loop().time()
        if now < self._let_in_until:
            await self._client.call(_ping)
        else:
            await self.has_dropped()
            self._let_in_until = now + _LET_IN_SECONDS

    async def close(self) -> None:
        await self._pages.close()
        await self._client.close()


async def _ping(client: AsyncClient) -> None:
    if not await client.ping():
        raise OSError("it does not answer a ping")


def schema_differs(applied: int) -> str | None:
    """Why tables of migration `applied` do not fit this code, or None."""
    wanted = migrations()[-1].number
    if applied < wanted:
        return (
            f"the archive's tables are of migration {applied}, this code needs {wanted}: run "
            "`messenger archive migrate`"
        )
    if applied > wanted:
        return (
            f"the archive's tables are of migration {applied}, this code knows {wanted}: deploy "
            "the newer code"
        )
    return None


def numbering_differs(found: set[str], numbering: str) -> str | None:
    """Why an archive of these numberings may not take messages of `numbering`, or None."""
    if found <= {numbering}:
        return None
    return (
        f"the archive holds the numbering of input topic {', '.join(sorted(found))}, Kafka has "
        f"{numbering}: the same numbers "
        "would mean other messages. Back the archive up, drop its database, migrate again"
    )


def made_for_differs(kept: Set[Numbering], numbering: Numbering) -> str | None:
    """Why an archive that was made for these may not take messages of `numbering`, or None."""
    for one in sorted(kept):
        reason = partitions_differ(one.partitions, numbering.partitions)
        if reason is not None:
            return f"the archive {reason}"
    return None
