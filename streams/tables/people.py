"""What one partition's users have decided about others, in RocksDB: the fold of the compacted topic
`people`.

b"h"                    Header
b"p" user \\0 other      PersonState
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from schemas.codec import decode_person, encode_event
from schemas.events import PersonState
from streams.tables.changelog import Header
from streams.tables.rocks import Disk, Rocks


class PeopleTable(Rocks[Header]):
    """`PeopleView` (agents/rules/people.py) on RocksDB."""

    def __init__(self, folder: Path, disk: Disk) -> None:
        super().__init__(folder, disk, Header)

    def state(self, user: str, other: str) -> PersonState | None:
        raw = self._db.get(_key(user, other))
        return None if raw is None else decode_person(raw)

    def states(self, user: str) -> Sequence[PersonState]:
        others = self._suffixes(_key(user, ""))
        found = (self.state(user, other.decode()) for other in others)
        return [state for state in found if state is not None]

    def write(
        self, changed: Mapping[tuple[str, str], PersonState], header: Header | None = None
    ) -> None:
        """Bring states, and maybe how far the topic has been read, into the table, atomically."""
        batch = self._disk.batch()
        for pair, state in changed.items():
            if state.dropped:
                batch.delete(_key(*pair))
            else:
                batch.put(_key(*pair), encode_event(state))
        self._write(batch, header)


def _key(user: str, other: str) -> bytes:
    return f"p{user}\0{other}".encode()
