"""What a judge found, in the words of Jepsen's Kafka tests."""

from collections import Counter
from typing import Any, NamedTuple

MEANINGS = {
    "lost-write": "a message was accepted and is missing where it must be",
    "duplicate": "one message under two numbers, or shown twice",
    "inconsistent-offsets": "two contents under one (conversation, number)",
    "nonmonotonic-send": "one sender's messages are not numbered in the order they were sent",
    "poll-skip": "a number is skipped",
    "nonmonotonic-poll": "a device goes back",
    "phantom": "something that no input explains",
    "unseen": "not everywhere after everything has come to rest",
}
CLEAN = "dense, once, in order, equal everywhere"
_SHOWN = 100


class Place(NamedTuple):
    """Where a finding is, as far as it is known: a record of Kafka, or the name of another store as
    `topic`; and a message. Offset -1 and seq 0 mean none."""

    topic: str = ""
    partition: int = -1
    offset: int = -1
    conversation: str = ""
    seq: int = 0

    def __str__(self) -> str:
        where = self.topic
        if self.partition >= 0:
            where += f"/{self.partition}"
        if self.offset >= 0:
            where += f" offset {self.offset}"
        message = f"{self.conversation}/{self.seq}" if self.seq else self.conversation
        return ", ".join(part for part in (where, message) if part)


NOWHERE = Place()


class Finding(NamedTuple):
    """One fault. `kind` is a key of MEANINGS; `text` says what is wrong there. Never a body."""

    kind: str
    place: Place
    text: str

    def line(self) -> str:
        where = str(self.place)
        return f"{self.kind}: {where}: {self.text}" if where else f"{self.kind}: {self.text}"

    def fields(self) -> dict[str, Any]:
        """The same for programs."""
        return {"finding": self.kind, **self.place._asdict(), "text": self.text}


class Verdict:
    """Collects findings: counts all, and keeps the first of each kind until they are taken."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.findings: list[Finding] = []
        self.figures: Counter[str] = Counter()
        self._kept: Counter[str] = Counter()
        self._left_out: Counter[str] = Counter()

    def add(self, kind: str, text: str, place: Place = NOWHERE) -> None:
        self.counts[kind] += 1
        if self._kept[kind] < _SHOWN:
            self._kept[kind] += 1
            self.findings.append(Finding(kind, place, text))
        else:
            self._left_out[kind] += 1

    @property
    def clean(self) -> bool:
        return not self.counts

    def take(self) -> list[str]:
        """The findings since the last call as lines."""
        lines = [finding.line() for finding in self.findings]
        lines += [f"{kind}: and {count} more" for kind, count in self._left_out.items()]
        self.findings = []
        self._kept.clear()
        self._left_out.clear()
        return lines

    def lines(self) -> list[str]:
        """The verdict as lines of text for a person: what each kind means, then the findings."""
        if self.clean:
            return [CLEAN]
        means = [f"{kind} ({count}): {MEANINGS[kind]}" for kind, count in self.counts.items()]
        return [*means, *self.take()]
