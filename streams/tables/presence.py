"""The presence of one partition's users in RocksDB: the fold of the compacted topic `presence`.

b"h"                    Header
b"u" user               PresenceState
b"n" node \\0 user       the user is online on the node
"""

import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path

from schemas.codec import decode_presence_state, encode_event
from schemas.events import PresenceState
from streams.tables.changelog import Header
from streams.tables.rocks import Disk, Rocks


class PresenceTable(Rocks[Header]):
    """`PresenceView` (agents/rules/presence.py) on RocksDB."""

    def __init__(self, folder: Path, disk: Disk) -> None:
        super().__init__(folder, disk, Header)

    def state(self, user: str) -> PresenceState | None:
        raw = self._db.get(b"u" + user.encode())
        return None if raw is None else decode_presence_state(raw)

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

    def users_of(self, node: str, limit: int) -> list[str]:
        """The first `limit` users, by name, who are online on a node."""
        users = self._suffixes(f"n{node}\0".encode())
        return [user.decode() for user in itertools.islice(users, limit)]

    def write(self, changed: Mapping[str, PresenceState], header: Header | None = None) -> None:
        """Bring users, and maybe how far the topic has been read, into the table, atomically."""
        batch = self._disk.batch()
        for user, state in changed.items():
            known = self.state(user)
            before, nodes = set(known.nodes if known else ()), set(state.nodes)
            for node in before - nodes:
                batch.delete(f"n{node}\0{user}".encode())
            for node in nodes - before:
                batch.put(f"n{node}\0{user}".encode(), b"")
            batch.put(b"u" + user.encode(), encode_event(state))
        self._write(batch, header)
