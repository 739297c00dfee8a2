"""What an operator has decided about a halted partition (R7): control records in its input.

A halted partition reads nothing more, so it looks for decisions behind the record that halts it.
Whoever restores a partition looks for them first, from the next input offset to the end of the
input, and folds nothing before. So an owner that begins after a decision was written knows it.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from agents.rules.batch import InputRecord
from schemas.codec import NewerVersion, Undecodable
from schemas.events import InputSkipped, PartitionResumed
from schemas.submitted_codec import decode_submitted

_MAX_BYTES = 4096
"""A control record is small; what is larger is not decoded."""


class Decisions(NamedTuple):
    """`skips` are ranges of input offsets, first and last; `last` is the offset of the last
    control record, -1 if there is none, and `why` what its operator says."""

    skips: Sequence[tuple[int, int]] = ()
    last: int = -1
    why: str = ""

    def skip(self, offset: int) -> bool:
        """Whether the record at an offset is set aside."""
        return any(first <= offset <= last for first, last in self.skips)

    def skip_to(self, first: int, last: int) -> bool:
        """Whether everything from `first` to `last` is set aside."""
        return any(one <= first and last <= other for one, other in self.skips)

    def and_then(self, records: Iterable[InputRecord]) -> "Decisions":
        """These, and those in the next records of the input."""
        found = self
        for record in records:
            decided = _decided(record.value)
            if isinstance(decided, InputSkipped) and decided.last < record.offset:
                skips = (*found.skips, (decided.first, decided.last))
                found = Decisions(skips, record.offset, f"{decided.who}: {decided.why}")
            elif isinstance(decided, PartitionResumed):
                found = Decisions(found.skips, record.offset, f"{decided.who}: {decided.why}")
        return found


def _decided(value: bytes | None) -> InputSkipped | PartitionResumed | None:
    if not value or len(value) > _MAX_BYTES:
        return None
    try:
        items = decode_submitted(value)
    except (NewerVersion, Undecodable):
        return None
    first = items[0] if items else None
    return first if isinstance(first, InputSkipped | PartitionResumed) else None
