"""Reading the log: rule R2, by which every reader of `messages` comes to the same state."""

from enum import Enum, auto

from schemas.events import LogRecord, Taken


class Verdict(Enum):
    """What to do with a log record, given the input position r the reader has reached."""

    TAKE = auto()
    IGNORE = auto()
    """All of it is known: a late append of a worker that had lost the partition."""
    AHEAD = auto()
    """Something before it is missing. Read on: the owner appends the missing part again."""


def judge(position: int, record: LogRecord) -> Verdict:
    """The verdict on a record at input position `position`."""
    if record.to <= position:
        return Verdict.IGNORE
    return Verdict.AHEAD if record.from_ > position + 1 else Verdict.TAKE


def news(position: int, record: LogRecord) -> list[Taken]:
    """What a record to be taken brings beyond input position `position`."""
    return (
        record.taken
        if record.from_ > position
        else [item for item in record.taken if item.offset > position]
    )
