"""Judges the archive's cursors: where a user's cursor stands there is where it stands in the topic
`cursors`."""

import datetime
import time
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from connectors.clickhouse.survey import MOST, ArchiveSurvey, CursorKey
from ops.audit.partition_state import CannotJudge, KafkaRecord
from ops.audit.verdict import Place, Verdict
from schemas.archive import DELIVERED
from schemas.archive import READ as READ_KIND
from schemas.codec import NewerVersion, Undecodable, decode_cursor
from schemas.events import READ, RECEIVED
from schemas.topics import CURSORS

_MAX_SUSPECTS = 100_000
_KINDS = {RECEIVED: DELIVERED, READ: READ_KIND}


class Standing(NamedTuple):
    """Where the topic has a cursor. `time` in ms."""

    seq: int
    time: int


_Since = tuple[CursorKey, tuple[Standing, float]]
"""A cursor, where the topic has it, and since when the archive has been behind that."""


def _slices(cursors: Sequence[_Since]) -> Iterable[Sequence[_Since]]:
    return (cursors[start : start + MOST] for start in range(0, len(cursors), MOST))


class CursorAudit:
    """Judges cursors as they are read. The archiver may be behind by `patience` seconds.

    `asked` asks the owner of a cursor where it stands, None if nobody answers. It is asked before a
    cursor of the archive is called wrong: a paused owner may append a lower record late, and
    compaction keeps the last one.
    """

    def __init__(
        self,
        survey: ArchiveSurvey,
        verdict: Verdict,
        asked: Callable[[CursorKey], int | None],
        patience: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._survey = survey
        self._verdict = verdict
        self._asked = asked
        self._patience = patience
        self._clock = clock
        self._read: dict[CursorKey, Standing] = {}
        """What has been read, and not looked up yet."""
        self._behind: dict[CursorKey, tuple[Standing, float]] = {}
        """Where the archive was behind the topic, and since when."""
        self._ahead: dict[CursorKey, int] = {}
        """Where the archive was ahead of what had been read: the topic may come to it."""
        self._dropped = survey.dropped_before()

    @property
    def behind(self) -> list[tuple[CursorKey, Standing]]:
        """Cursors that the archive has not come to yet."""
        waiting = {key: standing for key, (standing, _) in self._behind.items()}
        return list({**waiting, **self._read}.items())

    def expect(self, cursors: Iterable[tuple[CursorKey, Standing]]) -> None:
        """Look these up, too."""
        self._read.update(cursors)

    def read(self, partition: int, records: Iterable[KafkaRecord]) -> None:
        """Take records of the topic. Raises CannotJudge."""
        for record in records:
            try:
                cursor = decode_cursor(record.value)
            except (NewerVersion, Undecodable) as error:
                place = Place(CURSORS, partition, record.offset)
                raise CannotJudge(f"{place}: {error}") from None
            kind = _KINDS.get(cursor.device)
            if kind is None or not cursor.seq:
                continue
            key = cursor.conversation, cursor.user, kind
            if self._ahead.get(key, 0) and cursor.seq >= self._ahead[key]:
                del self._ahead[key]
            known = self._read.get(key)
            if known is None or cursor.seq > known.seq:
                self._read[key] = Standing(cursor.seq, cursor.time)

    def ends(self) -> None:
        """Call this when the topic has been read to its end since the last `look`: the archive
        knows nothing that the topic does not."""
        for key, seq in self._ahead.items():
            if (self._asked(key) or 0) < seq:
                self._check_ahead(key, seq)
        self._ahead.clear()

    def look(self) -> bool:
        """Look up what has been read, and again what the archive lacked; whether something still
        may come. Raises ArchiveUnavailable, ArchiveRefused."""
        now = self._clock()
        again = list(self._behind.items())
        fresh = [(key, (standing, now)) for key, standing in self._read.items()]
        for some in _slices(again):
            self._judge(some, now)
        for some in _slices(fresh):
            self._judge(some, now)
            self._verdict.figures["cursors"] += len(some)
        return bool(self._behind)

    def _judge(self, cursors: Sequence[_Since], now: float) -> None:
        found = self._survey.cursors([key for key, _ in cursors])
        for key, (standing, since) in cursors:
            if self._read.get(key) == standing:
                del self._read[key]
            self._behind.pop(key, None)
            there = found.get(key, 0)
            if there > standing.seq:
                if len(self._ahead) < _MAX_SUSPECTS:
                    self._ahead[key] = there
            elif there < standing.seq and not self._was_dropped(standing):
                if now - since >= self._patience:
                    self._check_behind(key, there, standing.seq)
                elif len(self._behind) < _MAX_SUSPECTS:
                    self._behind[key] = standing, since

    def _was_dropped(self, standing: Standing) -> bool:
        day = datetime.datetime.fromtimestamp(standing.time / 1000, datetime.UTC)
        return day.year * 100 + day.month < self._dropped

    # Each check adds to the verdict what it finds, and nothing else depends on it.

    def _check_ahead(self, key: CursorKey, seq: int) -> None:
        self._verdict.add(
            "phantom",
            f"the archive has {_name(key)} at {seq}; the topic never came to it",
            _of(key),
        )

    def _check_behind(self, key: CursorKey, there: int, seq: int) -> None:
        self._verdict.add(
            "lost-write", f"the archive has {_name(key)} at {there}, the topic at {seq}", _of(key)
        )


def _name(key: CursorKey) -> str:
    return f"the cursor '{key[2]}' of {key[1]}"


def _of(key: CursorKey) -> Place:
    return Place("archive", conversation=key[0])
