"""Reads what the judge needs: Kafka's topics and the workers' counters."""

import http.client
import json
import time
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

from agents.rules.fold import StateIncomplete
from connectors.kafka.ports import OffsetGone
from connectors.kafka.reader import Reader
from connectors.kafka.record import Record
from ops.audit.log import CountersSeen, PartitionJudge
from ops.audit.verdict import Verdict
from schemas.codec import NewerVersion, Undecodable, decode_deliveries, decode_server_frames
from schemas.events import AnswerDelivered, Delivered, MessageDelivered
from schemas.frames import Sent
from schemas.ids import partition_of
from schemas.topics import DELIVERIES, LOG, SUBMITTED

_HOLE_SECONDS = 30.0
"""How long the judge waits for a hole in the log to close, in seconds: the owner appends again what
is missing."""


class CannotJudge(Exception):
    """Something that the judge needs is gone. The text says what."""


def audit(
    kafka: str, workers: Sequence[str], partitions: int, slots: int, progress: Callable[[int], None]
) -> Verdict:
    """Judge everything up to now, also under load. Calls `progress` with the number of records
    read.

    `workers` are the URLs of the workers' pages; without any, counters are not judged. Raises
    ReadTimeout, CannotJudge.
    """
    verdict = Verdict()
    counters = {partition: _counters(workers, partition) for partition in range(partitions)}
    reader = Reader(kafka)
    try:
        delivered = _deliveries(reader, partitions, slots, progress)
        for partition in range(partitions):
            until = time.monotonic() + _HOLE_SECONDS
            while True:
                found = Verdict()
                judge = _partition(kafka, reader, partition, counters[partition], found, progress)
                if not judge.waiting or time.monotonic() > until:
                    break
                time.sleep(1)
            if workers and counters[partition] is None:
                found.add(
                    "unseen",
                    f"no worker answers for partition {partition}; its counters are not judged",
                )
            judge.deliveries(delivered[partition])
            verdict.merge(found)
    except (OffsetGone, NewerVersion, Undecodable, StateIncomplete) as error:
        raise CannotJudge(str(error)) from None
    finally:
        reader.close()
    return verdict


def _partition(
    kafka: str,
    reader: Reader,
    partition: int,
    counters: CountersSeen | None,
    verdict: Verdict,
    progress: Callable[[int], None],
) -> PartitionJudge:
    """Judge the log of one partition as it is now. Raises CannotJudge."""
    log_start, log_end = reader.watermarks(LOG, partition)
    input_start, input_end = reader.watermarks(SUBMITTED, partition)
    if log_start or input_start:
        raise CannotJudge(
            f"partition {partition}: the input begins at {input_start}, the log at {log_start}; "
            "the judge folds both from offset 0"
        )
    judge = PartitionJudge(partition, verdict)
    second = Reader(kafka)
    try:
        inputs = _counted(second.read(SUBMITTED, partition, 0, input_end), progress)
        records = _counted(reader.read(LOG, partition, 0, log_end), progress)
        judge.log(inputs, records, counters)
    finally:
        second.close()
    return judge


def _counted(records: Iterator[Record], progress: Callable[[int], None]) -> Iterator[Record]:
    for record in records:
        progress(1)
        yield record


def _deliveries(
    reader: Reader, partitions: int, slots: int, progress: Callable[[int], None]
) -> dict[int, list[Delivered]]:
    """The deliveries that Kafka still has, by partition of their conversation."""
    found: dict[int, list[Delivered]] = defaultdict(list)
    for slot in range(slots):
        start, end = reader.watermarks(DELIVERIES, slot)
        for record in _counted(reader.read(DELIVERIES, slot, start, end), progress):
            for event in decode_deliveries(record.value).events:
                if type(event) is MessageDelivered:
                    found[partition_of(event.conversation, partitions)].append(event)
                elif type(event) is AnswerDelivered:
                    for frame in decode_server_frames(event.frame):
                        if isinstance(frame, Sent):
                            found[partition_of(frame.conversation, partitions)].append(event)
    return found


def _counters(workers: Sequence[str], partition: int) -> CountersSeen | None:
    """The counters of the worker that owns the partition; None if no worker answers for
    _HOLE_SECONDS (a rebalance takes less)."""
    until = time.monotonic() + _HOLE_SECONDS
    while True:
        found = _ask(workers, partition)
        if found is not None or not workers or time.monotonic() > until:
            return found
        time.sleep(1)


def _ask(workers: Sequence[str], partition: int) -> CountersSeen | None:
    for worker in workers:
        try:
            with urllib.request.urlopen(
                f"{worker}/sequencer/counters/{partition}/", timeout=30
            ) as answer:
                lines = [json.loads(line) for line in answer.read().splitlines()]
        except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError):
            continue
        return CountersSeen(lines[0]["log_offset"], dict(lines[1:]))
    return None
