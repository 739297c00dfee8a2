"""Whether a partition may go on (R3, R8): its state must be the fold of the log that Kafka has, and
of the input that Kafka has.

If the log differs, the state begins again from a snapshot or from the log's start. If the input
differs, the partition halts, because nothing could tell which messages the numbers
belong to: an old message must never get a new number.
"""

from typing import NamedTuple, Protocol


class StatePosition(Protocol):
    """Where the state stands (streams.tables.sequences.Header)."""

    @property
    def log_topic(self) -> str: ...
    @property
    def input_topic(self) -> str: ...
    @property
    def log_offset(self) -> int: ...
    @property
    def log_crc(self) -> int: ...


class FoundLog(NamedTuple):
    """The log in Kafka: topic id, first offset, offset after the last, CRC-32 of the record at the
    state's log offset."""

    topic: str
    start: int
    end: int
    crc: int | None


class FoundInput(NamedTuple):
    """The input in Kafka: topic id, offsets, and (broker time, CRC-32) of the record at the
    position, None if expired."""

    topic: str
    start: int
    end: int
    fingerprint: tuple[int, int] | None


def log_differs(state: StatePosition, log: FoundLog) -> str | None:
    """Why the state is not a fold of this log, or None if it is."""
    if state.log_topic != log.topic:
        return f"the log was re-created (topic id {state.log_topic} is now {log.topic})"
    if log.end < state.log_offset + 1:
        return f"the log ends at offset {log.end}, the state has folded offset {state.log_offset}"
    if log.crc is not None and log.crc != state.log_crc:
        return f"log record {state.log_offset} is not the one that was folded"
    return None


def cannot_rebuild(next_offset: int, log: FoundLog) -> str | None:
    """Why the state cannot be completed by reading the log from `next_offset`, or None if it
    can."""
    if next_offset >= log.start:
        return None
    return f"the log begins at offset {log.start}, but offset {next_offset} is needed"


def may_be_given_up(
    state_topic: str | None, position: int, fingerprint: tuple[int, int], found: FoundInput
) -> tuple[int, int] | None:
    """The input offsets, first and last, that expired before they were folded, if nothing else
    differs: an operator may give them up. None if there are none."""
    first = position + 1
    if found.start <= first:
        return None
    rest = found._replace(start=first)
    if input_differs(state_topic, position, fingerprint, rest) is not None:
        return None
    return first, found.start - 1


def input_differs(
    state_topic: str | None, position: int, fingerprint: tuple[int, int], found: FoundInput
) -> str | None:
    """Why this is not the input that was folded up to `position`, or None if it is. `state_topic`
    None: not known."""
    if state_topic is not None and state_topic != found.topic:
        return f"the input was re-created (topic id {state_topic} is now {found.topic})"
    if found.end < position + 1:
        return (
            f"the input ends at offset {found.end}, but offset {position} has been folded: its "
            "tail was lost"
        )
    if found.start > position + 1:
        return (
            f"the input begins at offset {found.start}, but offset {position + 1} has not been "
            "folded: it expired unread"
        )
    if position >= 0 and found.fingerprint is not None:
        return record_differs(position, fingerprint, found.fingerprint)
    return None


def record_differs(position: int, folded: tuple[int, int], found: tuple[int, int]) -> str | None:
    """Why the input record at `position` is not the one that was folded, or None if it is. Both by
    their fingerprints."""
    if found == folded:
        return None
    return (
        f"input record {position} is not the one that was folded: the input was re-created or "
        "lost its tail"
    )
