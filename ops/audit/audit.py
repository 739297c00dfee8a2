"""The judge as a whole: Kafka, and what workers, Redis and the archive make of it."""

import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple, Self

from connectors.clickhouse.survey import ArchiveSurvey, CursorKey
from connectors.kafka.admin import TopicsAdmin
from connectors.kafka.reader import Reader
from connectors.kafka.wanted_topics import WantedTopics
from ops.audit import workers
from ops.audit.archive import ArchiveAudit
from ops.audit.checkpoint import Checkpoint, load, save
from ops.audit.cursors import CursorAudit
from ops.audit.pace import Pace
from ops.audit.partition_state import CannotJudge, CountersSeen, PartitionState
from ops.audit.soft_state import RedisAudit
from ops.audit.topics import TopicsAudit, TopicsState
from ops.audit.verdict import Place, Verdict
from schemas.ids import partition_of
from schemas.topics import CURSORS, SUBMITTED

_AGAIN_SECONDS = 1.0


class Sources(NamedTuple):
    """What is judged. `workers` are URLs of workers' pages, `redis` and `archive` addresses; what
    is empty is not judged."""

    kafka: str
    partitions: int
    slots: int
    workers: Sequence[str] = ()
    redis: str = ""
    archive: str = ""


class Terms(NamedTuple):
    """At most `rate` records a second are read, 0 for as many as there are. What is missing may
    come `patience` seconds later. With `in_turn` a pass asks for the counters of one partition, and
    the next pass for those of the next; without it for all."""

    rate: int = 0
    patience: float = 30.0
    in_turn: bool = False


class Audit:
    """Use it as a context manager. It goes on from `checkpoint`, if that file is there."""

    def __init__(
        self, sources: Sources, terms: Terms, verdict: Verdict, checkpoint: Path | None = None
    ) -> None:
        """Raises KafkaUnreachable, ArchiveUnavailable, ArchiveRefused, CannotJudge,
        CheckpointRefused, ValueError for an address that is none."""
        self.pace = Pace(terms.rate)
        self._sources = sources
        self._terms = terms
        self._verdict = verdict
        self._path = checkpoint
        self._passes = 0
        self._silent: set[int] = set()
        """Partitions whose counters no worker has told: a finding when that begins."""
        ids = TopicsAdmin(sources.kafka, WantedTopics(sources.partitions, sources.slots)).ids()
        if SUBMITTED not in ids:
            raise CannotJudge(f"Kafka at {sources.kafka} has no topic {SUBMITTED}")
        found = load(checkpoint, ids, sources.partitions) if checkpoint else None
        self._checkpoint = found or Checkpoint(
            ids, TopicsState([PartitionState() for _ in range(sources.partitions)])
        )
        with ExitStack() as exits:
            self._open(ids[SUBMITTED], exits)
            self._exits = exits.pop_all()

    def _open(self, log_id: str, exits: ExitStack) -> None:
        sources, verdict, patience = self._sources, self._verdict, self._terms.patience
        self._archive: ArchiveAudit | None = None
        self._redis: RedisAudit | None = None
        if sources.archive:
            survey = ArchiveSurvey(sources.archive)
            exits.callback(survey.close)
            if not survey.numberings() <= {log_id}:
                raise CannotJudge(
                    f"ClickHouse at {survey.address} holds another numbering than {log_id}"
                )
            self._archive = ArchiveAudit(survey, verdict, self._last, patience)
            self._archive.expect(self._checkpoint.unarchived)
            self._cursors = CursorAudit(survey, verdict, self._cursor, patience)
            self._cursors.expect(self._checkpoint.behind)
            self._cursor_reader = Reader(sources.kafka)
            exits.callback(self._cursor_reader.close)
        self._topics = TopicsAudit(
            lambda: Reader(sources.kafka),
            sources.slots,
            self._checkpoint.state,
            verdict,
            self.pace,
            self._counters,
            patience,
            self._archive.logged if self._archive else None,
        )
        exits.callback(self._topics.close)
        if sources.redis:
            claims = self._topics.claims
            self._redis = RedisAudit(sources.redis, log_id, sources.slots, verdict, claims)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._exits.close()

    def read_on(self) -> bool:
        """Judge what has come since the last call; False if there is more. Raises CannotJudge,
        ReadTimeout, RedisUnavailable, ArchiveUnavailable, ArchiveRefused."""
        whole = self._topics.read_on()
        if self._archive is not None:
            self._archive.look()
        if not whole:
            return False
        self._passes += 1
        whole = self._redis is None or self._redis.read_on()
        if self._archive is not None:
            self._read_cursors()
            self._cursors.look()
        if self._redis is not None or self._archive is not None:
            self._settle()
        self._verdict.figures["not yet in the log"] = self._topics.behind()
        return whole

    def finish(self) -> None:
        """Wait for what may still come into the archive, and judge it. Raises as read_on does."""
        if self._archive is None:
            return
        while self._archive.look() | self._cursors.look():
            time.sleep(_AGAIN_SECONDS)
        self._settle()

    def save(self) -> None:
        """Write the checkpoint, if there is to be one. Raises OSError."""
        if self._path is None:
            return
        if self._archive is not None:
            self._checkpoint.unarchived = self._archive.unarchived
            self._checkpoint.behind = self._cursors.behind
        for partition in self._checkpoint.state.partitions:
            partition.fold.forget_silent()
        save(self._path, self._checkpoint)

    def _settle(self) -> None:
        """Read on to the ends as they are now: what Redis or the archive had before must be
        there."""
        while not self._topics.read_on(with_counters=False):
            if self._archive is not None:
                self._archive.look()
        if self._archive is not None:
            self._read_cursors()
            self._archive.ends()
            self._cursors.ends()

    def _read_cursors(self) -> None:
        for number in range(self._sources.partitions):
            start, end = self._cursor_reader.watermarks(CURSORS, number)
            at = max(start, self._checkpoint.cursors.get(number, 0))
            for batch in self._cursor_reader.batches(CURSORS, number, at, end):
                self.pace.count(len(batch))
                self._cursors.read(number, batch)
                self._checkpoint.cursors[number] = batch[-1].offset + 1

    def _last(self, conversation: str) -> int:
        return self._topics.last(conversation)

    def _cursor(self, key: CursorKey) -> int | None:
        number = partition_of(key[0], self._sources.partitions)
        return workers.cursor(self._sources.workers, number, key)

    def _counters(self) -> dict[int, CountersSeen | None]:
        urls, found = self._sources.workers, dict[int, CountersSeen | None]()
        numbers: Sequence[int] = range(self._sources.partitions)
        if self._terms.in_turn:
            numbers = [self._passes % len(numbers)]
        for number in numbers if urls and (self._terms.in_turn or not self._passes) else ():
            found[number] = workers.counters(urls, number, self._terms.patience)
            if found[number] is not None:
                self._silent.discard(number)
            elif number not in self._silent:
                self._silent.add(number)
                self._verdict.add(
                    "unseen",
                    "no worker answers; its counters are not judged",
                    Place("table of the sequencer", number),
                )
        return found
