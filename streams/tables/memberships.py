"""Which users have conversations in which partitions of the log: the fold of one partition of the
compacted topic `memberships`.

    b"h"             Header
    b"u" user        the partitions, each as two bytes
    b"p" partition   that partition (two bytes) has said all

A fact is never taken back, so a table that is ahead of a topic without a tail is still right.
"""

from collections.abc import Iterable
from pathlib import Path
from struct import Struct, pack, unpack

from schemas.events import AllSaid, Membership
from streams.tables.changelog import Header
from streams.tables.rocks import Disk, Rocks

_NUMBER = Struct(">H")


class MembershipTable(Rocks[Header]):
    """`said`: the partitions of the log that have said all their members."""

    def __init__(self, folder: Path, disk: Disk) -> None:
        super().__init__(folder, disk, Header)
        self.said = {number for (number,) in map(_NUMBER.unpack, self._suffixes(b"p"))}

    def partitions(self, user: str) -> tuple[int, ...]:
        """The partitions in which the user has conversations, in the order they were said."""
        raw = self._db.get(b"u" + user.encode()) or b""
        return unpack(f">{len(raw) // _NUMBER.size}H", raw)

    def write(self, facts: Iterable[Membership | AllSaid], header: Header) -> None:
        """Bring facts, and how far the topic has been read, into the table, atomically. An AllSaid
        for another topic does not count. Raises DiskUnavailable."""
        batch = self._disk.batch()
        changed: dict[str, tuple[int, ...]] = {}
        said: set[int] = set()
        for fact in facts:
            if isinstance(fact, Membership):
                known = changed.get(fact.user) or self.partitions(fact.user)
                if fact.partition not in known:
                    changed[fact.user] = (*known, fact.partition)
            elif fact.topic == header.topic:
                said.add(fact.partition)
        for user, partitions in changed.items():
            batch.put(b"u" + user.encode(), pack(f">{len(partitions)}H", *partitions))
        for number in said - self.said:
            batch.put(b"p" + _NUMBER.pack(number), b"")
        self._write(batch, header)
        self.said |= said
