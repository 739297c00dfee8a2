"""The presence of one partition's users in RocksDB: the fold of the compacted topic `presence`.

b"h"                    Header
b"u" user               nodes, last seen
b"n" node \\0 user       the user is online on the node
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec
import rocksdict

from streams.cursor_table import Header
from streams.rocks import Rocks, RocksBudget

_state = msgspec.msgpack.Decoder(tuple[tuple[str, ...], int])
_encode = msgspec.msgpack.Encoder().encode

UserState = tuple[tuple[str, ...], int]
"""(nodes, last seen)."""


class PresenceTable(Rocks[Header]):
    def __init__(self, folder: Path, budget: RocksBudget) -> None:
        super().__init__(folder, budget, Header)

    def state(self, user: str) -> UserState | None:
        raw = self._db.get(b"u" + user.encode())
        return None if raw is None else _state.decode(raw)

    def nodes(self) -> Iterator[str]:
        """The nodes that somebody is online on."""
        start = b"n"
        while True:
            key = next(iter(self._db.keys(from_key=start)), None)
            if key is None or not key.startswith(b"n"):
                return
            node = key[1:].partition(b"\0")[0]
            yield node.decode()
            start = b"n" + node + b"\1"

    def users_of(self, node: str) -> list[str]:
        return [user.decode() for user in self._suffixes(f"n{node}\0".encode())]

    def write(self, changed: Mapping[str, UserState], header: Header | None = None) -> None:
        """Bring users, and maybe how far the topic has been read, into the table, atomically."""
        batch = rocksdict.WriteBatch(raw_mode=True)
        for user, (nodes, last_seen) in changed.items():
            before, _ = self.state(user) or ((), 0)
            for node in set(before) - set(nodes):
                batch.delete(f"n{node}\0{user}".encode())
            for node in set(nodes) - set(before):
                batch.put(f"n{node}\0{user}".encode(), b"")
            batch.put(b"u" + user.encode(), _encode((nodes, last_seen)))
        self._write(batch, header)
