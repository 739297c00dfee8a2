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
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

from agents.rules.batch import Batch
from agents.rules.fanout import begun_in, deliveries, users_of
from agents.rules.fold import OutOfStep, Repeat
from agents.sequencer.backlog import Backlog, contents
from agents.sequencer.first_messages import FirstMessages
from agents.sequencer.ports import DeliveryPort
from connectors.kafka.ports import OffsetGone
from connectors.redis.client import RedisUnavailable
from schemas.events import Delivered, Taken
from streams.retry import Retry
from streams.steps import STUCK_SECONDS, Step, Steps

log = logging.getLogger(__name__)

_FIRST_SECONDS, _LAST_SECONDS = 0.05, 1.0


class Deliverer:
    """Delivers one partition. `position` is the last folded input offset. Everything up to input
    offset `delivered` (d of R5) is acknowledged; the log holds what follows from `log_from` on."""

    def __init__(
        self, io: DeliveryPort, retry: Retry, position: int, delivered: int, log_from: int
    ) -> None:
        self.redelivered = 0
        """Messages delivered from the log."""
        self.waiting_for_redis = False
        self._io = io
        self._retry = retry
        self._backlog = Backlog(io.read_log, position, log_from)
        self._steps = Steps(delivered)
        self._first = FirstMessages(io, retry)
        self._refused: set[int] = set()
        """Slots of which a record was lost."""
        self._catching_up: Sequence[int] = ()
        self._crowded = False
        """The chain waits for room."""
        self._wake = asyncio.Event()
        self._reports = asyncio.Event()
        """A slot was left behind, or Kafka has reported on something sent to one that is."""

    @property
    def delivered(self) -> int:
        delivered, unsaid = self._steps.delivered, self._first.unsaid
        return min(delivered, unsaid[0].after) if unsaid else delivered

    @property
    def log_from(self) -> int:
        return self._backlog.log_from

    @property
    def behind(self) -> list[int]:
        """The slots that are left behind."""
        return sorted(self._steps.owed)

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
        """Deliver until cancelled. Raises LogExpired."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_again(self._deliver_next))
                tasks.create_task(_again(self._catch_up))
                tasks.create_task(_again(self._say_late))
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None

    # The chain

    async def _deliver_next(self) -> None:
        self._wake.clear()
        if near := [slot for slot in self._waiting() if self._is_near(slot)]:
            await self._serve_again(near)
        elif self._steps.sent >= self._backlog.offered:
            await self._wake.wait()
        elif batches := self._backlog.held(self._steps.sent):
            await self._deliver(*contents(batches, self._steps.sent), batches[-1].last)
        else:
            await self._retry(self._deliver_from_log)

    async def _deliver_from_log(self) -> None:
        """Read on in the log until memory has what comes next."""
        before = self._steps.sent
        with _log_expired():
            async for taken, to in self._backlog.from_log(before):
                self.redelivered += len(taken)
                await self._deliver(taken, [], to)
                if self._backlog.held(to):
                    return
        if self._steps.sent == before:
            await asyncio.sleep(_FIRST_SECONDS)

    async def _deliver(
        self, taken: list[Taken], answers: list[Repeat | OutOfStep], to: int
    ) -> None:
        if self._steps.full:
            await self._room()
        if begun := begun_in(taken):  # before the look for routes (R11)
            await self._first.say(begun, self._steps.sent)
        events = await self._events(taken, answers)
        step = self._steps.begin(to, asyncio.get_running_loop().time())
        for slot, slot_events in events.items():
            if slot not in self._steps.owed:
                self._send(slot, slot_events, step)
        self._steps.end(step)
        self._settled()

    async def _room(self) -> None:
        """Wait for acknowledgements; leave behind the slots that have kept the chain full for too
        long."""
        self._crowded = True
        while self._steps.full:
            for slot in self._steps.late(asyncio.get_running_loop().time()):
                self._steps.leave_behind(slot)
                self._left_behind(slot, "does not acknowledge its deliveries")
            self._wake.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STUCK_SECONDS / 4):
                    await self._wake.wait()
        self._crowded = False

    async def _events(
        self, taken: list[Taken], answers: list[Repeat | OutOfStep]
    ) -> Mapping[int, list[Delivered]]:
        """Slot → events, by the routes of now."""
        users = users_of(taken, answers)
        if not users:
            return {}
        asked = list(users)
        try:
            routes = await self._io.lookup(asked)
        except RedisUnavailable:
            self.waiting_for_redis = True
            routes = await self._retry(lambda: self._io.lookup(asked))
            self.waiting_for_redis = False
        return deliveries(taken, answers, routes)

    async def _say_late(self) -> None:
        await self._first.say_late()
        self._settled()

    def _send(self, slot: int, events: Sequence[Delivered], step: Step) -> None:
        if events:
            self._steps.sending(slot, step)
            self._io.deliver(slot, events, lambda ok: self._reported(slot, step, ok))

    def _reported(self, slot: int, step: Step, ok: bool) -> None:
        steps = self._steps
        delivered = steps.delivered
        if not ok:
            self._refused.add(slot)
        if steps.reported(slot, step, ok):
            self._left_behind(slot, "has lost a delivery")
        if steps.owed:
            self._reports.set()
        if steps.delivered != delivered:
            self._backlog.delivered(self.delivered)
        if self._crowded:
            self._wake.set()

    def _settled(self) -> None:
        self._backlog.needed(self._steps.needed)
        self._backlog.delivered(self.delivered)

    # Slots left behind

    def _left_behind(self, slot: int, why: str) -> None:
        owed = self._steps.owed[slot]
        log.warning("slot %d %s; it is owed what follows input offset %d", slot, why, owed)
        self._reports.set()
        self._wake.set()

    def _waiting(self) -> list[int]:
        """Slots left behind to which nothing is under way."""
        return [
            slot
            for slot in self._steps.owed
            if self._steps.idle(slot) and slot not in self._catching_up
        ]

    def _is_near(self, slot: int) -> bool:
        """Whether memory holds what the slot is owed, and one lookup carries it."""
        owed = self._steps.owed[slot]
        batches = self._backlog.held(owed)
        return (batches[-1].last if batches else owed) >= self._steps.sent

    async def _serve_again(self, slots: list[int]) -> None:
        """Send slots the rest of what they are owed, as a part of the chain: meanwhile nothing else
        is delivered."""
        after, sent = min(self._steps.owed[slot] for slot in slots), self._steps.sent
        batches = [batch for batch in self._backlog.held(after) or () if batch.first <= sent]
        events = await self._events(*contents(batches, after))
        step = self._steps.serve_again(slots, after, asyncio.get_running_loop().time())
        log.warning("slots %s are served again", slots)
        for slot in slots:
            self._send(slot, events.get(slot, ()), step)
        self._steps.end(step)
        self._settled()

    async def _catch_up(self) -> None:
        """Send slots what they are owed until they are near, or do not acknowledge it."""
        self._reports.clear()
        slots = [slot for slot in self._waiting() if not self._is_near(slot)]
        if not slots:
            self._wake.set()
            await self._reports.wait()
            return
        self._catching_up = slots
        try:
            served = await self._retry(lambda: self._catch_up_from_log(slots))
        finally:
            self._catching_up = ()
            self._wake.set()
        await asyncio.sleep(_FIRST_SECONDS if served else _LAST_SECONDS)

    async def _catch_up_from_log(self, slots: Sequence[int]) -> bool:
        """False if none of them acknowledges."""
        after = min(self._steps.owed[slot] for slot in slots)
        with _log_expired():
            async for taken, to in self._backlog.from_log(after):
                self.redelivered += len(taken)
                slots = await self._send_owed(slots, await self._events(taken, []), to)
                if not slots or self._is_near(slots[0]):
                    break
        return bool(slots)

    async def _send_owed(
        self, slots: Sequence[int], events: Mapping[int, list[Delivered]], to: int
    ) -> list[int]:
        """Send slots their part up to input offset `to`; returns those that have acknowledged it in
        time."""
        step = Step(to, 0.0)
        self._refused.clear()
        for slot in slots:
            self._send(slot, events.get(slot, ()), step)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STUCK_SECONDS):
                while step.waiting:
                    self._reports.clear()
                    await self._reports.wait()
        served = [s for s in slots if s not in step.waiting and s not in self._refused]
        self._steps.give_up(step)
        self._steps.has(served, to)
        self._settled()
        return served


class LogExpired(Exception):
    """The log no longer holds what is to be delivered."""


@contextlib.contextmanager
def _log_expired() -> Iterator[None]:
    """Trouble that does not pass by itself: reading again finds the same."""
    try:
        yield
    except OffsetGone as error:
        raise LogExpired(str(error)) from None


async def _again(work: Callable[[], Awaitable[None]]) -> None:
    """Do `work` again and again. Trouble that no port names is logged once, and waited out."""
    failing = False
    while True:
        try:
            await work()
            failing = False
        except LogExpired:
            raise
        except Exception as error:
            if not failing:
                log.error("deliveries wait, and are tried again: %r", error)
            failing = True
            await asyncio.sleep(_LAST_SECONDS)
