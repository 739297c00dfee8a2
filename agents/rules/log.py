"""Reading the log by rule R2, which brings every reader of `messages` to the same state."""

from enum import Enum, auto

from schemas.events import LogRecord, Taken


class Verdict(Enum):
    """What a reader does with a log record, given the input position r that it has reached."""

    TAKE = auto()
    IGNORE = auto()
    """The reader knows all of it: a worker that had lost the partition has appended it late."""
    AHEAD = auto()
    """Something before it is missing. Read on: the owner appends the missing part again."""


def judge(position: int, record: LogRecord) -> Verdict:
    """The verdict on a record at input position `position`."""
    if record.to <= position:
        return Verdict.IGNORE
    return Verdict.AHEAD if record.from_ > position + 1 else Verdict.TAKE


def news(position: int, record: LogRecord) -> list[Taken]:
    """What a record with the verdict TAKE brings beyond input position `position`."""
    return (
        record.taken
        if record.from_ > position
        else [item for item in record.taken if item.offset > position]
    )
