"""Delivering what was folded (R4, R5).

The chain of one partition is serial, so nothing overtakes. A Redis that is away for an hour costs
no memory: what waits is a position in the log (agents/sequencer/backlog.py). Answers to repeats are
not in the log and may be lost: the device asks again.

A slot whose deliveries Kafka does not acknowledge is left behind, so that it does not stop the
others. It is owed everything after an input offset, and gets it once Kafka has reported on all that
was sent to it:

    served ─→ left behind ─→ catching up: from the log, then memory ─→ served
                   └────────────────┘ not acknowledged again
"""

import asyncio
import contextlib
import logging
from bisect import insort
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from agents.rules.batch import Batch
from agents.rules.fanout import Routes, begun_in, deliveries, users_of
from agents.rules.fold import OutOfStep, Repeat
from agents.sequencer.backlog import Backlog, contents
from connectors.kafka.ports import OffsetGone, QueueFull, ReadTimeout
from connectors.kafka.record import Record
from connectors.redis.client import RedisUnavailable
from schemas.codec import encode_deliveries
from schemas.events import Delivered, Taken

log = logging.getLogger(__name__)

MAX_UNDER_WAY = 200
"""Steps of a partition that are not acknowledged; beyond them it delivers nothing more."""
STUCK_SECONDS = 1.0
"""While the chain is full, a slot that has not acknowledged a delivery for so long is left
behind."""
_FIRST_RETRY, _LAST_RETRY = 0.05, 1.0


class DeliveryPort(Protocol):
    """What the deliverer of one partition needs."""

    async def lookup(self, users: Sequence[str], begun: Sequence[str]) -> Routes:
        """Routes of `users`, read after it was written down which users have `begun` a
        conversation in this partition. Raises RedisUnavailable."""

    def deliver(self, slot: int, value: bytes, report: Callable[[bool], None]) -> None:
        """Send a delivery record to a gateway slot; `report(acknowledged)` comes once. Raises
        QueueFull."""

    def read_log(self, start: int) -> AsyncIterator[list[Record]]:
        """Records from log offset `start` to the present end, one list for each fetch. Raises
        ReadTimeout, OffsetGone."""


class _Step:
    """Deliveries of the input offsets after+1 and on. `waiting`: slot → records not
    acknowledged."""

    __slots__ = ("after", "queued", "since", "waiting")

    def __init__(self, after: int, since: float) -> None:
        self.after = after
        self.since = since
        self.waiting: dict[int, int] = {}
        self.queued = False


class Deliverer:
    """Delivers one partition. `position` is the last folded input offset. Everything up to input
    offset `delivered` (d of R5) is acknowledged; the log holds what follows from `log_from` on."""

    def __init__(self, io: DeliveryPort, position: int, delivered: int, log_from: int) -> None:
        self.delivered = delivered
        self.redelivered = 0
        """Messages delivered from the log."""
        self.waiting_for_redis = False
        self._io = io
        self._backlog = Backlog(io.read_log, position, log_from)
        self._sent = delivered
        self._steps: deque[_Step] = deque()
        """In the order of `after`."""
        self._unreported: Counter[int] = Counter()
        """Slot → records on which Kafka has not reported."""
        self._owed: dict[int, int] = {}
        """Slot left behind → it has everything up to this input offset."""
        self._refused: set[int] = set()
        """Slots of which a record was reported lost."""
        self._catching_up: Sequence[int] = ()
        self._wake = asyncio.Event()
        self._reports = asyncio.Event()
        """A slot was left behind, or Kafka has reported on everything sent to a slot."""

    @property
    def log_from(self) -> int:
        return self._backlog.log_from

    @property
    def behind(self) -> list[int]:
        """The slots that are left behind."""
        return sorted(self._owed)

    def offer(self, batch: Batch, size: int) -> None:
        """Deliver a batch of the fold, `size` bytes as a log record."""
        self._backlog.offer(batch, size)
        self._wake.set()

    def owe(self, position: int) -> None:
        """Deliver up to input offset `position`, too: the log is ahead of the fold."""
        if position > self._backlog.offered:
            self._backlog.offered = position
            self._wake.set()

    def landed(self, log_offset: int, to: int) -> None:
        """The log record at `log_offset` covers the input up to offset `to`."""
        self._backlog.landed(log_offset, to)
        self._backlog.delivered(self.delivered)

    async def run(self) -> None:
        """Deliver until cancelled. Raises OffsetGone if the log no longer holds what is owed."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_again(self._deliver_next))
                tasks.create_task(_again(self._catch_up))
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None

    # The chain

    async def _deliver_next(self) -> None:
        self._wake.clear()
        if rejoining := [slot for slot in self._idle() if self._is_near(slot)]:
            await self._rejoin(rejoining)
        elif self._sent >= self._backlog.offered:
            await self._wake.wait()
        elif batches := self._backlog.held(self._sent):
            await self._deliver(*contents(batches, self._sent), batches[-1].last)
        else:
            await self._deliver_from_log()

    async def _room(self) -> None:
        """Wait until the chain is not full; leave behind the slots that keep it full for too
        long."""
        now = asyncio.get_running_loop().time
        while len(self._steps) > MAX_UNDER_WAY:
            since = now() - STUCK_SECONDS
            if self._steps[0].since <= since:
                late = [step for step in self._steps if step.since <= since]
                for slot in {slot for step in late for slot in step.waiting}:
                    self._leave_behind(slot, "does not acknowledge its deliveries")
            self._wake.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STUCK_SECONDS / 4):
                    await self._wake.wait()

    async def _deliver_from_log(self) -> None:
        """Read on in the log until memory has what comes next."""
        before = self._sent
        try:
            async for taken, to in self._backlog.from_log(before):
                self.redelivered += len(taken)
                await self._deliver(taken, [], to)
                if self._backlog.held(to):
                    return
        except ReadTimeout as error:
            log.warning("deliveries wait for the log: %s", error)
        if self._sent == before:
            await asyncio.sleep(_FIRST_RETRY)

    async def _deliver(
        self, taken: list[Taken], answers: list[Repeat | OutOfStep], to: int
    ) -> None:
        await self._room()
        events = await self._events(taken, answers)
        step = _Step(self._sent, asyncio.get_running_loop().time())
        self._steps.append(step)
        self._sent = to
        for slot, slot_events in events.items():
            if slot not in self._owed:
                await self._send(slot, slot_events, step)
        step.queued = True
        self._settle()

    async def _events(
        self, taken: list[Taken], answers: list[Repeat | OutOfStep]
    ) -> Mapping[int, list[Delivered]]:
        """Slot → events, by the routes of now."""
        users = users_of(taken, answers)
        if not users:
            return {}
        return deliveries(taken, answers, await self._routes(list(users), begun_in(taken)))

    async def _routes(self, users: list[str], begun: list[str]) -> Routes:
        delay = _FIRST_RETRY
        while True:
            try:
                routes = await self._io.lookup(users, begun)
            except RedisUnavailable as error:
                if not self.waiting_for_redis:
                    log.warning("deliveries wait: %s", error)
                self.waiting_for_redis = True
                await asyncio.sleep(delay)
                delay = min(delay * 2, _LAST_RETRY)
            else:
                self.waiting_for_redis = False
                return routes

    async def _send(self, slot: int, events: Sequence[Delivered], step: _Step) -> None:
        for value in encode_deliveries(events) if events else ():
            step.waiting[slot] = step.waiting.get(slot, 0) + 1
            self._unreported[slot] += 1
            while True:
                try:
                    self._io.deliver(slot, value, lambda ok: self._reported(slot, step, ok))
                    break
                except QueueFull:
                    await asyncio.sleep(_FIRST_RETRY)

    def _reported(self, slot: int, step: _Step, ok: bool) -> None:
        if not ok:
            self._refused.add(slot)
            if slot in step.waiting and slot not in self._owed:
                self._leave_behind(slot, "has lost a delivery")
        waiting = step.waiting.get(slot, 0)
        if waiting > 1:
            step.waiting[slot] = waiting - 1
        elif waiting:
            del step.waiting[slot]
            if step.queued and not step.waiting:
                self._settle()
        self._unreported[slot] -= 1
        if not self._unreported[slot]:
            del self._unreported[slot]
            if self._owed:
                self._reports.set()

    def _settle(self) -> None:
        steps = self._steps
        if len(steps) > MAX_UNDER_WAY:
            self._wake.set()
        while steps and steps[0].queued and not steps[0].waiting:
            steps.popleft()
        needed = min(self._sent, *self._owed.values()) if self._owed else self._sent
        self._backlog.needed(needed)
        self.delivered = max(self.delivered, min(needed, steps[0].after) if steps else needed)
        self._backlog.delivered(self.delivered)

    # Slots left behind

    def _leave_behind(self, slot: int, why: str) -> None:
        missed = [step.after for step in self._steps if step.waiting.pop(slot, 0)]
        after = min([*missed, self._owed.get(slot, self._sent)])
        self._owed[slot] = after
        log.warning("slot %d %s; it is owed what follows input offset %d", slot, why, after)
        self._reports.set()
        self._wake.set()
        self._settle()

    def _idle(self) -> list[int]:
        """Slots left behind to which nothing is under way."""
        return [
            slot
            for slot in self._owed
            if not self._unreported[slot] and slot not in self._catching_up
        ]

    def _is_near(self, slot: int) -> bool:
        """Whether memory holds what the slot is owed, and one lookup carries it."""
        batches = self._backlog.held(self._owed[slot]) or ()
        last = batches[-1].last if batches else self._owed[slot]
        return last >= self._sent

    async def _rejoin(self, slots: Sequence[int]) -> None:
        """Send slots the rest of what they are owed, and serve them again. As a part of the chain:
        meanwhile nothing else is delivered."""
        after = min(self._owed[slot] for slot in slots)
        batches = [batch for batch in self._backlog.held(after) or () if batch.first <= self._sent]
        events = await self._events(*contents(batches, after))
        step = _Step(after, asyncio.get_running_loop().time())
        insort(self._steps, step, key=lambda one: one.after)
        for slot in slots:
            del self._owed[slot]
            log.warning("slot %d is served again", slot)
            await self._send(slot, events.get(slot, ()), step)
        step.queued = True
        self._settle()

    async def _catch_up(self) -> None:
        """Send slots what they are owed until they are near, or do not acknowledge it."""
        self._reports.clear()
        slots = [slot for slot in self._idle() if not self._is_near(slot)]
        if not slots:
            self._wake.set()
            await self._reports.wait()
            return
        self._catching_up = slots
        after = min(self._owed[slot] for slot in slots)
        try:
            async for taken, to in self._backlog.from_log(after):
                self.redelivered += len(taken)
                slots = await self._send_owed(slots, await self._events(taken, []), to)
                if not slots or self._is_near(slots[0]):
                    break
        except ReadTimeout as error:
            log.warning("slots left behind wait for the log: %s", error)
        finally:
            self._catching_up = ()
        self._wake.set()
        if not slots:
            await asyncio.sleep(_LAST_RETRY)
        elif not self._is_near(slots[0]):
            await asyncio.sleep(_FIRST_RETRY)

    async def _send_owed(
        self, slots: Sequence[int], events: Mapping[int, list[Delivered]], to: int
    ) -> list[int]:
        """Send slots left behind their part up to input offset `to`; returns those that have
        acknowledged it in time."""
        step = _Step(to, 0.0)
        self._refused.clear()
        for slot in slots:
            await self._send(slot, events.get(slot, ()), step)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STUCK_SECONDS):
                while any(self._unreported[slot] for slot in slots):
                    self._reports.clear()
                    await self._reports.wait()
        served = [
            slot for slot in slots if not self._unreported[slot] and slot not in self._refused
        ]
        for slot in served:
            self._owed[slot] = max(to, self._owed[slot])
        self._settle()
        return served


async def _again(work: Callable[[], Awaitable[None]]) -> None:
    """Do `work` again and again. Trouble that no port names is logged once, and waited out."""
    failing = False
    while True:
        try:
            await work()
            failing = False
        except OffsetGone:
            raise
        except Exception as error:
            if not failing:
                log.error("deliveries wait, and are tried again: %r", error)
            failing = True
            await asyncio.sleep(_LAST_RETRY)
