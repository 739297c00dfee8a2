"""What an operator reads of the archive, to compare it with the topics: digests instead of rows.
Blocking."""

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import clickhouse_connect

from connectors.clickhouse.archive import CURSORS, TABLE
from connectors.clickhouse.client import FAILURES, Address, translated

_TIMEOUT = 60.0
MOST = 900
"""Names in one question: ClickHouse takes 128 KiB as one parameter, and a conversation's name has
up to 129 characters, in quotes."""
_DIGEST = (
    "reinterpretAsUInt64(substring(MD5(concat(conversation, '|', toString(seq), '|', "
    "lower(hex(key)), '|', sender, '|', device, '|', toString(toUnixTimestamp64Milli(time)), '|', "
    "body)), 1, 8))"
)
_PLACES = "(conversation, seq) IN arrayZip({names:Array(String)}, {seqs:Array(UInt64)})"

CursorKey = tuple[str, str, str]
"""(conversation, user, kind)."""


class Digested(NamedTuple):
    """A row of a message by its name and a digest of all that it is; `time` is its log time in
    ms."""

    conversation: str
    seq: int
    digest: int
    time: int
    version: int = 0


def digest(
    conversation: str, seq: int, key: bytes, sender: str, device: str, time: int, body: str
) -> int:
    """64 bits of a message's MD5, as ClickHouse computes them from its row."""
    text = f"{conversation}|{seq}|{key.hex()}|{sender}|{device}|{time}|{body}"
    whole = hashlib.md5(text.encode(), usedforsecurity=False).digest()
    return int.from_bytes(whole[:8], "little")


class ArchiveSurvey:
    """Reads as a user who may read `archive`. All methods raise ArchiveUnavailable,
    ArchiveRefused. Close it."""

    def __init__(self, url: str) -> None:
        self.address = Address.parse(url)
        try:
            self._client = clickhouse_connect.get_client(
                **self.address.options(_TIMEOUT), form_encode_query_params=True
            )
        except FAILURES as error:
            raise translated(self.address, error) from None

    def close(self) -> None:
        self._client.close()

    def numberings(self) -> set[str]:
        """Kafka's ids of the inputs whose messages these are: one, or none yet."""
        return {
            str(row[0]) for row in self._rows("SELECT DISTINCT submitted FROM archive.numbering")
        }

    def dropped_before(self) -> int:
        """Messages of months before this one (YYYYMM) are gone for good; 0 if none are."""
        return int(self._rows("SELECT max(before) FROM archive.dropped")[0][0])

    def are_right(self, messages: Sequence[Digested]) -> bool:
        """Whether the archive has exactly these contents under these names. False also if one was
        changed or erased, or is not there yet: `contents` says which."""
        text = (
            f"SELECT count(), sum(digest) FROM (SELECT DISTINCT conversation, seq, {_DIGEST} AS "
            f"digest FROM {TABLE} WHERE {_PLACES} AND (conversation, seq, version) IN "
            "arrayZip({names:Array(String)}, {seqs:Array(UInt64)}, {versions:Array(UInt64)}))"
        )
        (found,) = self._rows(text, _named(messages))
        total = sum(message.digest for message in messages) % 2**64
        return (int(found[0]), int(found[1])) == (len(messages), total)

    def contents(self, messages: Sequence[Digested]) -> dict[tuple[str, int], set[tuple[int, int]]]:
        """(conversation, seq) → versions and digests of the rows there."""
        text = f"SELECT DISTINCT conversation, seq, version, {_DIGEST} FROM {TABLE} WHERE {_PLACES}"
        found: dict[tuple[str, int], set[tuple[int, int]]] = {}
        for conversation, seq, version, one in self._rows(text, _named(messages)):
            found.setdefault((conversation, seq), set()).add((version, one))
        return found

    def last_numbers(self, conversations: Sequence[str]) -> dict[str, int]:
        """conversation → the highest number that the archive has of it."""
        text = (
            f"SELECT conversation, max(seq) FROM {TABLE} WHERE conversation IN "
            "{names:Array(String)} GROUP BY conversation"
        )
        return dict(self._rows(text, {"names": list(conversations)}))

    def cursors(self, keys: Sequence[CursorKey]) -> dict[CursorKey, int]:
        """Where these cursors stand."""
        conversations, users, kinds = zip(*keys, strict=True)
        text = (
            f"SELECT conversation, user, kind, max(up_to) FROM {CURSORS} WHERE "
            "(conversation, user, kind) IN arrayZip({conversations:Array(String)}, "
            "{users:Array(String)}, {kinds:Array(String)}) GROUP BY conversation, user, kind"
        )
        rows = self._rows(
            text,
            {"conversations": list(conversations), "users": list(users), "kinds": list(kinds)},
        )
        return {(row[0], row[1], row[2]): int(row[3]) for row in rows}

    def _rows(self, text: str, parameters: dict[str, Any] | None = None) -> list[tuple[Any, ...]]:
        try:
            return [tuple(row) for row in self._client.query(text, parameters).result_rows]
        except FAILURES as error:
            raise translated(self.address, error) from None


def _named(messages: Sequence[Digested]) -> dict[str, Any]:
    return {
        "names": [message.conversation for message in messages],
        "seqs": [message.seq for message in messages],
        "versions": [message.version for message in messages],
    }
