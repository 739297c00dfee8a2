"""Judges the taken ordinals of one log record against those that its input takes."""

from ops.audit.recent import RecentMessages
from ops.audit.verdict import Place, Verdict
from schemas.events import Taken
from schemas.topics import LOG

_CONTENT = ("offset", "time", "device", "ordinal", "key", "code", "body", "changes")
"""Fields of a taken ordinal that must be as by the input, beside its name and number."""

_Send = tuple[str, str, bytes, int]


class ItemJudge:
    """Adds findings of one partition to `verdict`. `recent` holds the messages before the
    record."""

    def __init__(self, partition: int, verdict: Verdict, recent: RecentMessages) -> None:
        self._partition = partition
        self._verdict = verdict
        self._recent = recent

    def match(self, offset: int, found: list[Taken], expected: list[Taken]) -> None:
        """What a log record has taken, against what its input takes."""
        wanted = {_send(item): item for item in expected}
        order: dict[str, int] = {}
        for item in found:
            true = wanted.pop(_send(item), None) or _of_key(item, wanted)
            if true is None:
                self._check_unasked(offset, item, expected)
                continue
            self._check_number(offset, item, true)
            self._check_content(offset, item, true)
            if true.seq and true.seq < order.get(item.conversation, 0):
                self._check_order(offset, item, true)
            order[item.conversation] = max(order.get(item.conversation, 0), true.seq)
        for item in wanted.values():
            self._check_missing(offset, item)

    # Each check adds to the verdict what it finds, and nothing else depends on it.

    def _check_number(self, offset: int, item: Taken, true: Taken) -> None:
        if item.seq == true.seq:
            return
        where = self._place(LOG, offset, item)
        if not item.seq or not true.seq:
            said, meant = _answer(item), _answer(true)
            self._verdict.add(
                "inconsistent-offsets", f"it is {said}; by the input it is {meant}", where
            )
        else:
            kind = "inconsistent-offsets" if item.seq < true.seq else "poll-skip"
            self._verdict.add(kind, f"by the input the message is number {true.seq}", where)

    def _check_content(self, offset: int, item: Taken, true: Taken) -> None:
        other = [name for name in _CONTENT if getattr(item, name) != getattr(true, name)]
        if other and bool(item.seq) == bool(true.seq):
            self._verdict.add(
                "inconsistent-offsets",
                f"{', '.join(other)} {'is' if len(other) == 1 else 'are'} not the input's",
                self._place(LOG, offset, item),
            )

    def _check_order(self, offset: int, item: Taken, true: Taken) -> None:
        self._verdict.add(
            "nonmonotonic-send",
            f"by the input it is {true.seq}, before what stands before it here",
            self._place(LOG, offset, item),
        )

    def _check_missing(self, offset: int, item: Taken) -> None:
        self._verdict.add(
            "lost-write",
            f"the input has it at offset {item.offset}; this record covers that, and lacks it",
            self._place(LOG, offset, item),
        )

    def _check_unasked(self, offset: int, item: Taken, expected: list[Taken]) -> None:
        key = item.key.hex()
        first = self._recent.number_of(item.conversation, item.sender, key) or next(
            (one.seq for one in expected if one.seq and one.key == item.key), 0
        )
        place = self._place(LOG, offset, item)
        if first:
            self._verdict.add("duplicate", f"the message is number {first} already", place)
        else:
            self._verdict.add(
                "phantom", f"the input at offset {item.offset} does not come to it", place
            )

    def _place(self, topic: str, offset: int, item: Taken) -> Place:
        return Place(topic, self._partition, offset, item.conversation, item.seq)


def _send(item: Taken) -> _Send:
    return item.conversation, item.sender, item.outbox, item.ordinal


def _of_key(item: Taken, wanted: dict[_Send, Taken]) -> Taken | None:
    """Remove and return the ordinal that is the same message under another ordinal."""
    for name, one in wanted.items():
        if (one.conversation, one.sender, one.key) == (item.conversation, item.sender, item.key):
            return wanted.pop(name)
    return None


def _answer(item: Taken) -> str:
    return f"number {item.seq}" if item.seq else f"a refusal with code {item.code}"
