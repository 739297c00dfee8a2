"""Marks and presence that a partition tells gateways: of these only the newest counts.

A slot that does not acknowledge holds nobody up. Once too much is under way to it, the partition
leaves it behind, and drops what there is for it. When Kafka has reported on all that was sent to
the slot, the partition tells the slot's devices to ask; the answers have everything that was
dropped. d stays below all of that, so the next owner folds it, and tells it, again.
"""

import asyncio
import contextlib
import logging
from collections.abc import Mapping, Sequence

from schemas.events import Delivered, DeliveriesMissed
from streams.slot_sender import SlotSender
from streams.steps import STUCK_SECONDS, Step, Steps

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 0.02
"""Deliveries wait so long for those of other partitions; nobody is in a hurry for a mark."""
_REST_SECONDS = 1.0
"""Lies between two times at which the partition tells devices to ask."""


class SlotNews:
    """Of one partition, of which everything up to input offset `position` is delivered. Run `run`
    beside it."""

    def __init__(self, who: str, sender: SlotSender, position: int) -> None:
        self._who = who
        self._sender = sender
        self._loop = asyncio.get_running_loop()
        self._steps = Steps(position)
        self._reports = asyncio.Event()
        """Kafka has reported on something, while somebody waits for that."""
        self._waits = False

    @property
    def delivered(self) -> int:
        """Everything up to this input offset is sent and acknowledged (d)."""
        return self._steps.delivered

    @property
    def behind(self) -> list[int]:
        """The slots that are left behind."""
        return sorted(self._steps.owed)

    @property
    def stuck(self) -> bool:
        """A slot does not acknowledge."""
        return bool(self._steps.owed or self._steps.late(self._loop.time()))

    async def send(self, slots: Mapping[int, Sequence[Delivered]]) -> Step:
        """Send slot → events; returns once that is under way."""
        while self._steps.full:
            for slot in self._steps.late(self._loop.time()):
                self._steps.leave_behind(slot)
                log.warning("%s: slot %d does not acknowledge its deliveries", self._who, slot)
            await self._report()
        step = self._steps.begin(self._steps.sent, self._loop.time())
        for slot, events in slots.items():
            if slot not in self._steps.owed:
                self._send(slot, events, step)
        self._steps.end(step)
        return step

    async def acknowledged(self, step: Step) -> bool:
        """Wait for Kafka to acknowledge all of a step; False if a slot does not soon."""
        while step.waiting and not self.stuck:
            await self._report()
        return not step.waiting and not self._steps.owed

    def reach(self, position: int) -> None:
        """What is to be told up to an input offset is sent."""
        self._steps.reach(position)

    async def run(self) -> None:
        """Serve again the slots that were left behind, until cancelled."""
        steps = self._steps
        while True:
            idle = [slot for slot in steps.owed if steps.idle(slot)]
            if not idle:
                self._reports.clear()
                await self._reports.wait()
                continue
            log.warning("%s: the devices of slots %s are told to ask", self._who, idle)
            after = min(steps.owed[slot] for slot in idle)
            step = steps.serve_again(idle, after, self._loop.time())
            for slot in idle:
                self._send(slot, [DeliveriesMissed()], step)
            steps.end(step)
            await asyncio.sleep(_REST_SECONDS)

    def _send(self, slot: int, events: Sequence[Delivered], step: Step) -> None:
        self._steps.sending(slot, step)
        self._sender.send(slot, events, lambda ok: self._reported(slot, step, ok), PATIENCE_SECONDS)

    def _reported(self, slot: int, step: Step, ok: bool) -> None:
        if self._steps.reported(slot, step, ok):
            log.warning("%s: slot %d has lost a delivery", self._who, slot)
        if self._waits or self._steps.owed:
            self._reports.set()

    async def _report(self) -> None:
        """Wait for a report of Kafka, for a while."""
        self._waits = True
        self._reports.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STUCK_SECONDS / 4):
                await self._reports.wait()
        self._waits = False
