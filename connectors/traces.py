"""Traces of messages.

A message's key is its trace id: every process that meets the message knows the key. So nothing has
to be passed from process to process, and each decides by the key alone whether to trace.
"""

import hashlib
from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

ROOT = "message"
"""The span of the sender's gateway. Those of other processes are its children."""
MOST_A_SECOND = 100
"""Spans of a process; others are left out. Clients choose the keys, so one of them could have all
of its messages traced."""


class Span(NamedTuple):
    """Something that happened to the message whose key is `trace`, from `start` to `end` (ms).
    `parent` is 0 for the root."""

    trace: int
    id: int
    parent: int
    name: str
    start: float
    end: float
    about: Mapping[str, str | int]


class SpanWriter(Protocol):
    """Brings spans to a collector, and leaves out what is too much for it."""

    def write(self, span: Span) -> None: ...

    def close(self) -> None:
        """Bring what waits. Blocks for 2 s at most."""


class Traces:
    """Spans of a `share` (0 to 1) of all messages. `now` gives the time of day in ms."""

    def __init__(self, writer: SpanWriter, share: float, now: Callable[[], float]) -> None:
        self.now = now
        self._writer = writer
        self._below = int(share * 2**64)
        self._second = self._spans = 0

    def sampled(self, key: bytes) -> bool:
        """Whether the message with this key (16 bytes) is traced: in all processes, or in none."""
        return int.from_bytes(key[8:]) < self._below and any(key)

    def span(self, key: bytes, name: str, start: float, about: Mapping[str, str | int]) -> None:
        """Something happened to a sampled message, from `start` (ms) until now. `about` says more;
        it never holds a body."""
        now = self.now()
        if int(now / 1000) != self._second:
            self._second, self._spans = int(now / 1000), 0
        self._spans += 1
        if self._spans <= MOST_A_SECOND:
            root = _span_id(key, ROOT)
            is_root = name == ROOT
            id_ = root if is_root else _span_id(key, f"{name} {sorted(about.items())}")
            parent = 0 if is_root else root
            end = max(start, now)
            self._writer.write(Span(int.from_bytes(key), id_, parent, name, start, end, about))

    def close(self) -> None:
        """Bring what waits to the collector. Blocks for 2 s at most."""
        self._writer.close()


def _span_id(key: bytes, what: str) -> int:
    """The same thing gets the same id in each process, and when it is done again."""
    return int.from_bytes(hashlib.blake2b(key + what.encode(), digest_size=8).digest()) or 1
