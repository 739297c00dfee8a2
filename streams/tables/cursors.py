"""The cursors of one partition in RocksDB: the fold of the compacted topic `cursors`, merged by
maximum.

    b"h"                                   Header
    b"c" conversation \\0 user \\0 device    seq, time; `device` as in schemas.events.CursorRecord
    b"i" user \\0 device \\0 conversation    the same device has a cursor there

It may be behind its topic and is never ahead of it: a cursor is written here when Kafka has it.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from struct import Struct

from schemas.events import NOTIFIED, READ, RECEIVED
from streams.tables.changelog import Header
from streams.tables.rocks import Disk, Rocks

_CURSOR = Struct(">QQ")

Name = tuple[str, str, str]
"""Of a cursor: (conversation, user, device)."""


class CursorTable(Rocks[Header]):
    """`CursorView` (agents/rules/cursors.py) on RocksDB."""

    def __init__(self, folder: Path, disk: Disk) -> None:
        super().__init__(folder, disk, Header)

    def get(self, cursor: Name) -> tuple[int, int]:
        raw = self._db.get(b"c" + "\0".join(cursor).encode())
        return (0, 0) if raw is None else _CURSOR.unpack(raw)

    def of_device(self, user: str, device: str) -> Iterator[Name]:
        for conversation in self._suffixes(f"i{user}\0{device}\0".encode()):
            yield conversation.decode(), user, device

    def devices(self, user: str) -> Iterator[str]:
        """The devices of a user that have read something here."""
        last = b""
        for rest in self._suffixes(f"i{user}\0".encode()):
            device = rest.partition(b"\0")[0]
            if device != last:
                last = device
                yield device.decode()

    def write(self, changed: Mapping[Name, tuple[int, int]], header: Header | None = None) -> None:
        """Bring cursors, and maybe how far the topic has been read, into the table, atomically."""
        batch = self._disk.batch()
        for cursor, (seq, time) in changed.items():
            conversation, user, device = cursor
            key, index = (
                b"c" + "\0".join(cursor).encode(),
                f"i{user}\0{device}\0{conversation}".encode(),
            )
            if not seq:
                batch.delete(key)
                batch.delete(index)
                continue
            batch.put(key, _CURSOR.pack(seq, time))
            if device not in (RECEIVED, READ, NOTIFIED):
                batch.put(index, b"")
        self._write(batch, header)
