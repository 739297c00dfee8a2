"""The deliveries of a partition that Kafka has not acknowledged yet, and how far everything is
delivered.

A step is what is sent together: the deliveries of some input offsets. d moves over
a step once Kafka has acknowledged all of it. A slot that does not acknowledge is left behind, so
that it does not stop the others: it is in no step, and is owed everything after an input offset.
"""

from bisect import insort
from collections import deque

MAX_UNDER_WAY = 200
"""Steps that are not acknowledged; beyond them nothing more is delivered."""
STUCK_SECONDS = 1.0
"""While so many are under way, a slot that has not acknowledged a delivery for so long is left
behind."""


class Step:
    """Deliveries of the input offsets after+1 and on, begun at `since` (s)."""

    __slots__ = ("after", "ended", "since", "waiting")

    def __init__(self, after: int, since: float) -> None:
        self.after = after
        self.since = since
        self.waiting: dict[int, int] = {}
        """Slot → records not acknowledged."""
        self.ended = False
        """Whether everything of the step is sent."""


class Steps:
    """The steps of one partition. Everything up to input offset `sent` is sent, but to the slots in
    `owed`; everything up to `delivered` (d of R5) is acknowledged."""

    def __init__(self, delivered: int) -> None:
        self.sent = delivered
        self.delivered = delivered
        self.owed: dict[int, int] = {}
        """Slot left behind → it has everything up to this input offset."""
        self._steps: deque[Step] = deque()
        """In the order of `after`."""
        self._unreported: dict[int, int] = {}
        """Slot → records that are in no step any more, and on which Kafka has not reported."""

    def __len__(self) -> int:
        return len(self._steps)

    @property
    def full(self) -> bool:
        return len(self._steps) > MAX_UNDER_WAY

    @property
    def needed(self) -> int:
        """Only what follows this input offset is still to be sent to some slot."""
        return min(self.sent, *self.owed.values()) if self.owed else self.sent

    def begin(self, to: int, now: float) -> Step:
        """The step of what follows `sent`, up to input offset `to`."""
        step = Step(self.sent, now)
        self._steps.append(step)
        self.sent = to
        return step

    def reach(self, to: int) -> None:
        """Everything up to input offset `to` is sent; what had to be is in the steps before."""
        self.sent = to
        self._settle()

    def serve_again(self, slots: list[int], after: int, now: float) -> Step:
        """The step in which slots left behind get what follows `after`, up to `sent`."""
        step = Step(after, now)
        insort(self._steps, step, key=lambda one: one.after)
        for slot in slots:
            del self.owed[slot]
        return step

    def sending(self, slot: int, step: Step) -> None:
        """A record of a step goes to a slot."""
        step.waiting[slot] = step.waiting.get(slot, 0) + 1

    def end(self, step: Step) -> None:
        """Everything of a step is sent."""
        step.ended = True
        self._settle()

    def reported(self, slot: int, step: Step, ok: bool) -> bool:
        """Kafka has, or has not, taken a record; True if the slot is left behind for that."""
        waiting = step.waiting.get(slot, 0)
        if not ok and waiting and slot not in self.owed:
            self.leave_behind(slot)
            self._count(slot, -1)
            return True
        if waiting > 1:
            step.waiting[slot] = waiting - 1
        elif waiting:
            del step.waiting[slot]
            if step.ended and not step.waiting:
                self._settle()
        else:
            self._count(slot, -1)
        return False

    def leave_behind(self, slot: int) -> None:
        """Owe the slot whatever it has not acknowledged, and whatever comes."""
        after = self.owed.get(slot, self.sent)
        for step in self._steps:
            if waiting := step.waiting.pop(slot, 0):
                after = min(after, step.after)
                self._count(slot, waiting)
        self.owed[slot] = after
        self._settle()

    def give_up(self, step: Step) -> None:
        """Take a step out of the chain. Kafka will still report on its records."""
        for slot, waiting in step.waiting.items():
            self._count(slot, waiting)
        step.waiting = {}

    def _count(self, slot: int, change: int) -> None:
        unreported = self._unreported.get(slot, 0) + change
        if unreported:
            self._unreported[slot] = unreported
        else:
            self._unreported.pop(slot, None)

    def late(self, now: float) -> set[int]:
        """Slots that have not acknowledged something for STUCK_SECONDS."""
        since = now - STUCK_SECONDS
        return {slot for step in self._steps if step.since <= since for slot in step.waiting}

    def idle(self, slot: int) -> bool:
        """Kafka has reported on all that was sent to a slot before it was left behind."""
        return slot not in self._unreported

    def has(self, slots: list[int], to: int) -> None:
        """Slots left behind have everything up to input offset `to`."""
        for slot in slots:
            self.owed[slot] = max(to, self.owed[slot])
        self._settle()

    def _settle(self) -> None:
        steps = self._steps
        while steps and steps[0].ended and not steps[0].waiting:
            steps.popleft()
        settled = min(self.needed, steps[0].after) if steps else self.needed
        self.delivered = max(self.delivered, settled)
