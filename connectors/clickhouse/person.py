"""What the archive has of one person, for that person. Blocking."""

from collections.abc import Iterator
from typing import Any

import clickhouse_connect

from connectors.clickhouse.client import FAILURES, Address, translated

_TIMEOUT = 300.0
_SETTINGS = {"output_format_json_quote_64bit_integers": 0, "max_threads": 1}
_CHUNK = 64 * 1024
_MESSAGES = """
SELECT 'message' AS kind, conversation, seq, sender AS `from`, recipient AS `to`, device,
    toUnixTimestamp64Milli(exact.time) AS time, body, erased, changes, changed_by
FROM archive.exact_messages AS exact
WHERE conversation = {conversation:String}
ORDER BY seq
"""
_CURSORS = """
SELECT kind, conversation, up_to, toUnixTimestamp64Milli(exact.time) AS time
FROM archive.exact_cursors AS exact
WHERE conversation = {conversation:String} AND user = {user:String}
ORDER BY kind, up_to
"""


class PersonArchive:
    """Reads as a user who may read `archive`. All methods raise ArchiveUnavailable,
    ArchiveRefused. Close it."""

    def __init__(self, url: str) -> None:
        self._address = Address.parse(url)
        try:
            self._client = clickhouse_connect.get_client(
                **self._address.options(_TIMEOUT), form_encode_query_params=True
            )
        except FAILURES as error:
            raise translated(self._address, error) from None

    def close(self) -> None:
        self._client.close()

    def export(self, user: str) -> Iterator[bytes]:
        """Pieces of JSON lines: the messages of each of the user's conversations, by both, and how
        far the user has received and read them. One conversation is in memory at a time, at
        ClickHouse."""
        text = (
            "SELECT DISTINCT conversation FROM archive.user_conversations "
            "WHERE user = {user:String} ORDER BY conversation"
        )
        try:
            found = self._client.query(text, {"user": user}).result_rows
            for (conversation,) in found:
                parameters = {"user": user, "conversation": conversation}
                for query in (_MESSAGES, _CURSORS):
                    yield from self._pieces(query, parameters)
        except FAILURES as error:
            raise translated(self._address, error) from None

    def _pieces(self, query: str, parameters: dict[str, Any]) -> Iterator[bytes]:
        with self._client.raw_stream(query, parameters, _SETTINGS, fmt="JSONEachRow") as stream:
            while piece := stream.read(_CHUNK):
                yield piece
