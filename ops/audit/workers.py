"""Asks workers what their tables in RocksDB hold."""

import http.client
import json
import time
import urllib.error
from collections.abc import Sequence

import msgspec

from connectors.clickhouse.survey import CursorKey
from ops.audit.partition_state import CountersSeen
from ops.worker_pages import ask
from schemas.archive import READ
from schemas.worker_api import MarksAnswer, MarksQuestion

_ANSWER_SECONDS = 30.0
_FAILURES = (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError)
_marks = msgspec.json.Decoder(list[MarksAnswer])


def counters(workers: Sequence[str], partition: int, patience: float) -> CountersSeen | None:
    """The counters of the worker that owns the partition; None if none of them answers for
    `patience` seconds (a rebalance takes less). `workers` are the URLs of their pages."""
    until = time.monotonic() + patience
    while True:
        found = _ask(workers, partition)
        if found is not None or not workers or time.monotonic() > until:
            return found
        time.sleep(1)


def _ask(workers: Sequence[str], partition: int) -> CountersSeen | None:
    for worker in workers:
        try:
            with ask(f"{worker}/sequencer/counters/{partition}/", _ANSWER_SECONDS) as answer:
                lines = [json.loads(line) for line in answer.read().splitlines()]
        except _FAILURES:
            continue
        return CountersSeen(lines[0]["log_offset"], dict(lines[1:]))
    return None


def cursor(workers: Sequence[str], partition: int, key: CursorKey) -> int | None:
    """Where the owner of the partition has a cursor; None if no worker answers for it."""
    conversation, user, kind = key
    question = msgspec.json.encode([MarksQuestion({partition: [conversation]})])
    for worker in workers:
        try:
            with ask(f"{worker}/cursors/marks/", _ANSWER_SECONDS, question) as answer:
                found = _marks.decode(answer.read())[0].get(partition)
        except (*_FAILURES, msgspec.DecodeError):
            continue
        for mark in found or ():
            if mark.user == user:
                return mark.read if kind == READ else mark.received
    return None
