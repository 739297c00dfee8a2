"""What a judge found, in the words of Jepsen's Kafka tests."""

from collections import Counter
from typing import NamedTuple

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
_SHOWN = 5


class Deviation(NamedTuple):
    """One fault. `kind` is a key of MEANINGS; `text` says where."""

    kind: str
    text: str


class Verdict:
    """Collects deviations: counts all, and keeps the first few of each kind as examples."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.examples: list[Deviation] = []
        self.figures: Counter[str] = Counter()

    def add(self, kind: str, text: str) -> None:
        self.counts[kind] += 1
        if self.counts[kind] <= _SHOWN:
            self.examples.append(Deviation(kind, text))

    def merge(self, other: "Verdict") -> None:
        """Add what another verdict holds."""
        self.counts += other.counts
        self.examples += other.examples
        self.figures += other.figures

    @property
    def clean(self) -> bool:
        return not self.counts

    def lines(self) -> list[str]:
        """The verdict as lines of text for a person."""
        if self.clean:
            return ["dense, once, in order, equal everywhere"]
        lines = [f"{kind} ({count}): {MEANINGS[kind]}" for kind, count in self.counts.items()]
        return lines + [f"  {kind}: {text}" for kind, text in self.examples]
