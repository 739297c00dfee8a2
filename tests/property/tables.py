"""The tables of cursors and presence in memory, on disks in memory: opening RocksDB takes longer
than most histories.

That they equal the real ones is shown by test_marks_and_presence.py.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from agents.rules.cursors import CursorId
from schemas.events import PresenceState
from streams.tables.changelog import Header


class Disk(NamedTuple):
    """What a folder holds."""

    cursors: dict[CursorId, tuple[int, int]]
    users: dict[str, PresenceState]
    headers: list[Header]


DISKS: dict[Path, Disk] = {}


class _Table:
    def __init__(self, folder: Path, budget: object = None) -> None:
        self.disk = DISKS.setdefault(folder, Disk({}, {}, []))

    @property
    def header(self) -> Header | None:
        return self.disk.headers[-1] if self.disk.headers else None

    def close(self) -> None: ...

    @staticmethod
    def destroy(folder: Path) -> None:
        del DISKS[folder]


class MemoryCursors(_Table):
    """CursorTable."""

    def get(self, cursor: CursorId) -> tuple[int, int]:
        return self.disk.cursors.get(cursor, (0, 0))

    def of_device(self, user: str, device: str) -> Iterator[CursorId]:
        return iter([cursor for cursor in self.disk.cursors if cursor[1:] == (user, device)])

    def write(
        self, changed: Mapping[CursorId, tuple[int, int]], header: Header | None = None
    ) -> None:
        self.disk.cursors.update(
            {cursor: (value[0], value[1]) for cursor, value in changed.items()}
        )
        for cursor in [cursor for cursor, value in changed.items() if not value[0]]:
            del self.disk.cursors[cursor]
        self.disk.headers.extend([header] if header else [])


class MemoryPresence(_Table):
    """PresenceTable."""

    def state(self, user: str) -> PresenceState | None:
        return self.disk.users.get(user)

    def nodes(self) -> Iterator[str]:
        return iter(sorted({node for state in self.disk.users.values() for node in state.nodes}))

    def users_of(self, node: str, limit: int) -> list[str]:
        users = sorted(user for user, state in self.disk.users.items() if node in state.nodes)
        return users[:limit]

    def write(self, changed: Mapping[str, PresenceState], header: Header | None = None) -> None:
        self.disk.users.update(changed)
        self.disk.headers.extend([header] if header else [])
