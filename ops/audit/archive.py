"""Judges the archive: each message of the log is there, once and as it is, and nothing beyond the
log. Ranges of messages are compared by digests; rows are looked at where a digest differs."""

import datetime
import time
from collections.abc import Callable, Iterable, Sequence

from connectors.clickhouse.survey import MOST, ArchiveSurvey, Digested, digest
from ops.audit.verdict import Place, Verdict
from schemas.archive import DELETION, MESSAGE
from schemas.events import Taken

_MAX_MISSING = 200_000


class ArchiveAudit:
    """Judges what `logged` was told. The archiver may be behind the log by `patience` seconds.
    `last(conversation)` is the last number by the input, as far as the log goes. Close it."""

    def __init__(
        self,
        survey: ArchiveSurvey,
        verdict: Verdict,
        last: Callable[[str], int],
        patience: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._survey = survey
        self._verdict = verdict
        self._last = last
        self._patience = patience
        self._clock = clock
        self._range: list[Digested] = []
        self._missing: list[tuple[Digested, float]] = []
        """Messages that were not there, and since when."""
        self._highest: dict[str, int] = {}
        """conversation → the last number in the archive, where that is beyond the log."""
        self._dropped = survey.dropped_before()

    def close(self) -> None:
        self._survey.close()

    @property
    def unarchived(self) -> list[Digested]:
        """Messages of the log that were not found in the archive yet."""
        return [*(message for message, _ in self._missing), *self._range]

    def expect(self, messages: Iterable[Digested]) -> None:
        """Look these up, too."""
        self._range += messages

    def logged(self, item: Taken) -> None:
        """The log has come to this message of the input."""
        changes = item.changes
        body = item.body if changes is None else ""
        self._expect(item, item.seq, item.key, item.time, body, MESSAGE)
        if changes is not None:
            version = item.seq if item.body else item.seq + DELETION
            self._expect(item, changes.seq, changes.key, changes.time, item.body, version)

    def _expect(
        self, item: Taken, seq: int, key: bytes, time: int, body: str, version: int
    ) -> None:
        one = digest(item.conversation, seq, key, item.sender, item.device, time, body)
        self._range.append(Digested(item.conversation, seq, one, time, version))

    def look(self) -> bool:
        """Look up what has been logged, and again what was missing; whether something still may
        come. Raises ArchiveUnavailable, ArchiveRefused."""
        now = self._clock()
        for _ in range(0, len(self._missing), MOST):
            some = self._missing[:MOST]
            late = self._judge(some, now)
            self._missing = [*self._missing[MOST:], *late]
        while self._range:
            self._look(self._range[:MOST], now)
            del self._range[:MOST]
        return bool(self._missing)

    def ends(self) -> None:
        """Call this when the log has been read on to the input's end since `look`: what the archive
        had beyond the log then has no input."""
        for conversation, number in self._highest.items():
            if number > self._last(conversation):
                self._check_beyond(conversation, number)
        self._highest.clear()

    def _look(self, messages: Sequence[Digested], now: float) -> None:
        if not self._survey.are_right(messages):
            self._missing += self._judge([(message, now) for message in messages], now)
        names = list({message.conversation for message in messages})
        for conversation, number in self._survey.last_numbers(names).items():
            if number > self._last(conversation):
                self._highest[conversation] = number
        self._verdict.figures["archived messages"] += len(messages)

    def _judge(
        self, messages: Sequence[tuple[Digested, float]], now: float
    ) -> list[tuple[Digested, float]]:
        """Look at the rows of each of these messages, and return those that may still come. Each
        has the time since which it has been missing."""
        late: list[tuple[Digested, float]] = []
        found = self._survey.contents([message for message, _ in messages])
        for message, since in messages:
            rows = found.get((message.conversation, message.seq), set())
            if any(version > message.version for version, _ in rows):
                continue  # it was changed or erased later
            there = {one for version, one in rows if version == message.version}
            if len(there) > 1:
                self._check_twice(message)
            elif there and there != {message.digest}:
                self._check_content(message)
            elif not there and not self._was_dropped(message):
                if now - since >= self._patience:
                    self._check_missing(message)
                elif len(self._missing) + len(late) < _MAX_MISSING:
                    late.append((message, since))
                else:
                    self._verdict.figures["too many to wait for"] += 1
        return late

    def _was_dropped(self, message: Digested) -> bool:
        day = datetime.datetime.fromtimestamp(message.time / 1000, datetime.UTC)
        return day.year * 100 + day.month < self._dropped

    # Each check adds to the verdict what it finds, and nothing else depends on it.

    def _check_twice(self, message: Digested) -> None:
        self._verdict.add(
            "inconsistent-offsets", "the archive has several contents of it", _place(message)
        )

    def _check_content(self, message: Digested) -> None:
        self._verdict.add("inconsistent-offsets", "the archive has other content", _place(message))

    def _check_missing(self, message: Digested) -> None:
        self._verdict.add("lost-write", "the log has it; the archive lacks it", _place(message))

    def _check_beyond(self, conversation: str, number: int) -> None:
        self._verdict.add(
            "phantom",
            "the archive has it; the log does not come to it",
            Place("archive", conversation=conversation, seq=number),
        )


def _place(message: Digested) -> Place:
    return Place("archive", conversation=message.conversation, seq=message.seq)
