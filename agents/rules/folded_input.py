"""The last input record that is folded: whether what comes next was written behind it (R3.5)."""

import zlib
from typing import NamedTuple, Protocol

from agents.rules.position import record_differs


class WrittenRecord(Protocol):
    """A record, and the epoch of the leader that wrote it, −1 if that is not known."""

    @property
    def timestamp(self) -> int: ...
    @property
    def value(self) -> bytes: ...
    @property
    def epoch(self) -> int: ...


class FoldedInput(NamedTuple):
    """Input record `position` had this broker time and CRC-32. What the leader with this `epoch`
    writes follows it; −1: what the next leader writes does. `asked`: a record of the leader with
    that epoch has come; does it follow?

    A leader never gives an offset twice, so only another leader can have lost the record. Of the
    records of one leader, the first tells of all. So each new leader costs one read of a record,
    and no message costs any.
    """

    position: int
    time: int
    crc: int
    epoch: int
    asked: int = -1

    def joins(self, record: WrittenRecord) -> bool:
        """Whether `record`, which comes next, surely follows. If not, look at the record at
        `position` again."""
        return self.position < 0 or -1 in (self.epoch, record.epoch) or self.epoch == record.epoch

    def ask(self, record: WrittenRecord) -> "FoldedInput":
        """Whether `record` follows is to be found out."""
        return self._replace(asked=record.epoch)

    def differs(self, found: WrittenRecord | None) -> str | None:
        """Why `found`, which the input has at `position` now, is not the one that was folded; None
        if it is, or if it has expired."""
        if self.position < 0 or found is None:
            return None
        fingerprint = found.timestamp, zlib.crc32(found.value)
        return record_differs(self.position, (self.time, self.crc), fingerprint)

    def confirmed(self) -> "FoldedInput":
        """The record at `position` is still there: what was asked about follows."""
        return self if self.asked < 0 else self._replace(epoch=self.asked, asked=-1)
