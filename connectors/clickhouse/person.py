"""What the archive has of one person, for that person. Blocking."""

from collections.abc import Iterable, Iterator, Sequence
from heapq import merge
from itertools import chain
from typing import Any

import clickhouse_connect
import msgspec

from connectors.clickhouse.client import FAILURES, Address, translated
from connectors.clickhouse.survey import MOST

_TIMEOUT = 300.0
_SETTINGS = {"output_format_json_quote_64bit_integers": 0, "max_threads": 1}
_CHUNK = 64 * 1024
_TOGETHER = 2_000
"""Messages of the conversations that are asked for at once; of a longer one it is asked alone. A
question costs ClickHouse some milliseconds, however little it answers."""
_MESSAGES = """
SELECT 'message' AS kind, conversation, seq, sender AS `from`, recipient AS `to`, device,
    toUnixTimestamp64Milli(exact.time) AS time, body, erased, changes, changed_by
FROM archive.exact_messages AS exact
WHERE conversation IN {conversations:Array(String)}
ORDER BY conversation, seq
"""
_CURSORS = """
SELECT kind, conversation, up_to, toUnixTimestamp64Milli(exact.time) AS time
FROM archive.exact_cursors AS exact
WHERE conversation IN {conversations:Array(String)} AND user = {user:String}
ORDER BY conversation, kind, up_to
"""


class _Line(msgspec.Struct):
    conversation: str


_line = msgspec.json.Decoder(_Line)


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
        far the user has received and read them. Some 2,000 messages are in memory at a time; of a
        longer conversation, which is at ClickHouse, some lines."""
        text = (
            "SELECT conversation, max(seq) FROM archive.user_conversations "
            "WHERE user = {user:String} GROUP BY conversation ORDER BY conversation"
        )
        try:
            for some in _together(self._client.query(text, {"user": user}).result_rows):
                messages, cursors = (self._lines(one, user, some) for one in (_MESSAGES, _CURSORS))
                if len(some) == 1:
                    yield from chain(messages, cursors)
                else:
                    yield from merge(messages, list(cursors), key=_conversation)
        except FAILURES as error:
            raise translated(self._address, error) from None

    def _lines(self, query: str, user: str, conversations: Sequence[str]) -> Iterator[bytes]:
        """Raises RuntimeError, one of FAILURES, if ClickHouse fails in the middle of its answer."""
        parameters = {"user": user, "conversations": conversations}
        with self._client.raw_stream(query, parameters, _SETTINGS, fmt="JSONEachRow") as stream:
            rest = b""
            while piece := stream.read(_CHUNK):
                *lines, rest = (rest + piece).split(b"\n")
                for line in lines:
                    if not line.startswith(b"{"):
                        raise RuntimeError(line[:500].decode(errors="replace"))  # its own words
                    yield line + b"\n"
            if rest:
                raise RuntimeError("its answer ends within a line")


def _conversation(line: bytes) -> str:
    return _line.decode(line).conversation


def _together(found: Iterable[Sequence[Any]]) -> Iterator[list[str]]:
    """Conversations, of which each has so many messages, cut into those that are asked for
    together."""
    some: list[str] = []
    count = 0
    for conversation, messages in found:
        if some and (count + messages > _TOGETHER or len(some) == MOST):
            yield some
            some, count = [], 0
        some.append(conversation)
        count += messages
    if some:
        yield some
