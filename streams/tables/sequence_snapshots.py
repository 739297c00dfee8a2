"""The rows of a snapshot (docs/RULES.md, R8). They do not depend on the table's layout."""

from collections.abc import Generator, Iterable, Iterator
from itertools import takewhile

from schemas.events import SnapshotAnswer, SnapshotConversation, SnapshotOutbox, SnapshotRow
from schemas.frames import OUTBOX_WINDOW
from streams.tables.sequence_layout import ANSWER, LAST, SEQ


def snapshot_rows(
    conversations: Iterator[tuple[bytes, bytes]],
    outboxes: Iterator[tuple[bytes, bytes]],
    answers: Iterator[tuple[bytes, bytes]],
) -> Generator[SnapshotRow]:
    """Each iterator begins at the first key of its kind, and goes on to the end of the table."""
    for key, value in _of(b"s", conversations):
        yield SnapshotConversation(key[1:].decode(), *LAST.unpack(value))
    answers = _of(b"a", answers)
    run = next(answers, None)
    for key, value in _of(b"o", outboxes):
        runs = []
        while run is not None and run[0][1:-1] <= key[1:]:  # both come in the order of outboxes
            if run[0][1:-1] == key[1:]:
                runs.append(run[1])
            run = next(answers, None)
        conversation, sender, outbox = key[1:].split(b"\0", 2)
        ordinal, time = LAST.unpack(value)
        last = _last_answers(ordinal, runs)
        yield SnapshotOutbox(conversation.decode(), sender.decode(), outbox, ordinal, time, last)


def _of(kind: bytes, items: Iterator[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
    return takewhile(lambda item: item[0].startswith(kind), items)


def _last_answers(ordinal: int, runs: Iterable[bytes]) -> list[SnapshotAnswer]:
    """The answers to the last 64 ordinals up to `ordinal`, in order."""
    found: dict[int, SnapshotAnswer] = {}
    for run in runs:
        (first,) = SEQ.unpack_from(run)
        for number, answer in enumerate(ANSWER.iter_unpack(run[SEQ.size :]), first):
            if ordinal - OUTBOX_WINDOW < number <= ordinal and (
                # as in `SequenceTable.answer`
                number not in found or answer[3] > found[number].time
            ):
                found[number] = SnapshotAnswer(number, *answer)
    return [found[number] for number in sorted(found)]
