"""Delivering (R4, R5): at once from memory, or, for what memory no longer holds, from the log.

One serial chain a partition: nothing overtakes. What has not been delivered is a position in the
log, so a Redis that is away for an hour costs no memory; a new owner, a full queue and a failed
delivery are all the same case: the next input offset owed is not in memory, so it is read from the
log. Replies to repeats are not in the log and may be lost: the device asks again.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Protocol

from agents.rules.batch import Batch
from agents.rules.fanout import Routes, begun_in, deliveries, users_of
from agents.rules.fold import OutOfStep, Repeat
from agents.rules.log import Verdict, judge, news
from connectors.kafka.ports import QueueFull, ReadTimeout
from connectors.kafka.record import Record
from connectors.redis.client import RedisUnavailable
from schemas.codec import decode_log, encode_deliveries
from schemas.events import Taken

log = logging.getLogger(__name__)

MAX_LIVE_BYTES = 8 * 1024 * 1024
"""Batches kept in memory per partition, by the size of their log records; older ones are read from
the log."""
MAX_UNDER_WAY = 200
_LOOKUP_MESSAGES = 2000
_MAX_SPANS = 1000
_FIRST_RETRY, _LAST_RETRY = 0.05, 1.0


class DeliveryAccess(Protocol):
    """What one partition's deliverer needs of the outside."""

    async def lookup(self, users: Sequence[str], begun: Sequence[str]) -> Routes:
        """Routes of users, after it was written down who has `begun` a conversation here. Raises
        RedisUnavailable."""

    def deliver(self, slot: int, value: bytes, report: Callable[[bool], None]) -> None:
        """Produce a delivery record to a gateway slot. Raises QueueFull."""

    def read_log(self, start: int) -> AsyncIterator[list[Record]]:
        """Records from log offset `start` to the present end, by fetches. Raises ReadTimeout,
        OffsetGone."""


class _Step:
    """Deliveries up to input offset `to` that are under way."""

    __slots__ = ("open", "to")

    def __init__(self, to: int) -> None:
        self.to = to
        self.open = 0


class Deliverer:
    """Delivers one partition. Everything up to `delivered` (d) is acknowledged; `log_from` is where
    the rest is in the log."""

    def __init__(
        self, access: DeliveryAccess, position: int, delivered: int, log_from: int
    ) -> None:
        self._access = access
        self.delivered = delivered
        self.log_from = log_from
        self._sent = delivered
        self._offered = position
        self._live: deque[tuple[Batch, int]] = deque()
        self._live_bytes = 0
        self._steps: deque[_Step] = deque()
        self._spans: deque[tuple[int, int]] = deque()
        self._wake = asyncio.Event()
        self.waiting_for_redis = False
        self.redelivered = 0

    def offer(self, batch: Batch, size: int) -> None:
        """A batch of the fold, `size` bytes as a log record. The oldest in memory make room for
        it."""
        self._offered = batch.last
        self._live.append((batch, size))
        self._live_bytes += size
        while self._live_bytes > MAX_LIVE_BYTES:
            self._live_bytes -= self._live.popleft()[1]
        self._wake.set()

    def landed(self, log_offset: int, to: int) -> None:
        """The log holds input offsets up to `to` at `log_offset`."""
        if len(self._spans) < _MAX_SPANS and (not self._spans or to > self._spans[-1][1]):
            self._spans.append((log_offset + 1, to))
            self._settle()

    async def run(self) -> None:
        """Deliver until cancelled. Raises Halt's cause (OffsetGone) if the log expired before it
        was delivered."""
        while True:
            self._wake.clear()
            while self._live and self._live[0][0].last <= self._sent:
                self._live_bytes -= self._live.popleft()[1]
            if self._sent >= self._offered or len(self._steps) > MAX_UNDER_WAY:
                await self._wake.wait()
            elif self._live and self._live[0][0].first <= self._sent + 1:
                await self._deliver_live()
            else:
                await self._deliver_from_log()

    async def _deliver_live(self) -> None:
        """As many batches as one lookup should carry."""
        taken: list[Taken] = []
        answers: list[Repeat | OutOfStep] = []
        to = self._sent
        while self._live and len(taken) + len(answers) < _LOOKUP_MESSAGES:
            batch, size = self._live.popleft()
            self._live_bytes -= size
            outcome = batch.outcome
            taken += (
                outcome.taken
                if batch.first > self._sent
                else [t for t in outcome.taken if t.offset > self._sent]
            )
            answers += outcome.answers
            to = batch.last
        await self._deliver(taken, answers, to)

    async def _deliver_from_log(self) -> None:
        """Read on in the log until memory has what comes next."""
        before = self._sent
        try:
            async for records in self._access.read_log(self.log_from):
                for record in records:
                    entry = decode_log(record.value)
                    if judge(self._sent, entry) is Verdict.TAKE:
                        taken = news(self._sent, entry)
                        self.redelivered += len(taken)
                        await self._deliver(taken, [], entry.to)
                        self.landed(record.offset, entry.to)
                if self._live and self._live[0][0].first <= self._sent + 1:
                    return
        except ReadTimeout as error:
            log.warning("delivering from the log: %s", error)
        if self._sent == before:
            await asyncio.sleep(_FIRST_RETRY)  # what is owed has not landed yet

    async def _deliver(
        self, taken: list[Taken], answers: list[Repeat | OutOfStep], to: int
    ) -> None:
        users = users_of(taken, answers)
        events = (
            deliveries(taken, answers, await self._routes(list(users), begun_in(taken)))
            if users
            else {}
        )
        step = _Step(to)
        step.open = 1  # held open until everything is queued
        self._steps.append(step)
        self._sent = to
        for slot, slot_events in events.items():
            for value in encode_deliveries(slot_events):
                step.open += 1
                await self._queue(slot, value, step)
        self._done(step)

    async def _routes(self, users: list[str], begun: list[str]) -> Routes:
        delay = _FIRST_RETRY
        while True:
            try:
                routes = await self._access.lookup(users, begun)
            except RedisUnavailable as error:
                if not self.waiting_for_redis:
                    log.warning("deliveries wait: %s", error)
                self.waiting_for_redis = True
                await asyncio.sleep(delay)
                delay = min(delay * 2, _LAST_RETRY)
            else:
                self.waiting_for_redis = False
                return routes

    async def _queue(self, slot: int, value: bytes, step: _Step) -> None:
        while True:
            try:
                self._access.deliver(slot, value, lambda ok: self._reported(step, ok))
                return
            except QueueFull:
                await asyncio.sleep(_FIRST_RETRY)

    def _reported(self, step: _Step, ok: bool) -> None:
        if ok:
            self._done(step)
        elif step in self._steps:  # all that is not acknowledged is owed again
            log.warning(
                "a delivery failed; delivering again from input offset %d", self.delivered + 1
            )
            self._steps.clear()
            self._sent = self.delivered
            self._wake.set()

    def _done(self, step: _Step) -> None:
        step.open -= 1
        if step.open == 0:
            self._settle()

    def _settle(self) -> None:
        steps = self._steps
        if len(steps) > MAX_UNDER_WAY:
            self._wake.set()
        while steps and steps[0].open == 0:
            self.delivered = steps.popleft().to
        while self._spans and self._spans[0][1] <= self.delivered:
            self.log_from = self._spans.popleft()[0]
