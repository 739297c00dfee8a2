"""A device's queue of sends as a pure state machine: ordinals, the window, rounds, repeats.

Per recipient, sends are numbered 1, 2, 3 … at their first transmission and keep number and key for ever. At most 64 are
unanswered; the oldest unanswered is sent again, with all behind it, after `RESEND_SECONDS` without any answer (backing off)
and after each reconnect. Answers may come in any number and from any earlier transmission; time is an argument, in seconds.
"""

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from messenger_sdk.errors import MessengerError, OutboxFull, SendRefused, SendUnknown
from schemas.frames import OUTBOX_WINDOW, Error, OutOfStep, Refused, Send, Sent

RESEND_SECONDS = 5.0
MAX_RESEND_SECONDS = 60.0
MAX_QUEUED = 10_000
"""Unanswered and waiting sends of one outbox; more raise OutboxFull."""


class SentMessage(NamedTuple):
    """A message that has its place in the conversation; `time` in ms since 1970, the same for everybody."""

    conversation: str
    seq: int
    time: int


class Done(NamedTuple):
    """The end of one send."""

    key: str
    result: SentMessage | MessengerError


class _Queued:
    __slots__ = ("body", "key", "ordinal")

    def __init__(self, key: str, body: str) -> None:
        self.key = key
        self.body = body
        self.ordinal = 0


class _Lane:
    """Sends to one recipient."""

    def __init__(self, outbox: str) -> None:
        self.outbox = outbox
        self.next_ordinal = 1
        self.open: deque[_Queued] = deque()
        self.waiting: deque[_Queued] = deque()
        self.round = 1
        self.base = 1
        """The oldest unanswered ordinal when this round began: whatever the server expects in this round is not below it."""
        self.transmitted = 0
        """How many of `open` have been transmitted in this round."""
        self.resend_at = 0.0
        self.patience = RESEND_SECONDS
        self.turned_away = False
        """A send of this round was not handed on: answers to those before it do not put off the next round."""


class Outbox:
    """`new_id` makes random ids of 32 hex digits: one for the outbox, another where the server has forgotten it."""

    def __init__(self, new_id: Callable[[], str], max_queued: int = MAX_QUEUED) -> None:
        self._new_id = new_id
        self._id = new_id()
        self._max_queued = max_queued
        self._lanes: dict[str, _Lane] = {}
        self._count = 0

    def __len__(self) -> int:
        """Sends without an answer."""
        return self._count

    def add(self, to: str, key: str, body: str) -> None:
        """Queue a send. Raises OutboxFull."""
        if self._count >= self._max_queued:
            raise OutboxFull(f"{self._count} messages wait to be sent")
        self._count += 1
        lane = self._lanes.get(to)
        if lane is None:
            lane = self._lanes[to] = _Lane(self._id)
        lane.waiting.append(_Queued(key, body))

    def transmit(self, now: float) -> list[Send]:
        """What should go out now, in order."""
        sends: list[Send] = []
        for to, lane in self._lanes.items():
            while lane.waiting and len(lane.open) < OUTBOX_WINDOW:
                queued = lane.waiting.popleft()
                queued.ordinal, lane.next_ordinal = lane.next_ordinal, lane.next_ordinal + 1
                lane.open.append(queued)
            if lane.open and lane.transmitted and now >= lane.resend_at:
                lane.patience = min(lane.patience * 2, MAX_RESEND_SECONDS)
                self._again(lane)
            if lane.transmitted < len(lane.open):
                if not lane.transmitted:
                    lane.resend_at = now + lane.patience
                fresh = list(lane.open)[lane.transmitted :]
                sends += [Send(to, lane.outbox, q.ordinal, q.key, q.body, lane.round) for q in fresh]
                lane.transmitted = len(lane.open)
        return sends

    def reconnected(self) -> None:
        """A new session: all that is unanswered goes out again."""
        for lane in self._lanes.values():
            if lane.open:
                lane.patience = RESEND_SECONDS
                self._again(lane)

    def resend_at(self) -> float | None:
        """When `transmit` will next have something without being asked, None if never."""
        return min((lane.resend_at for lane in self._lanes.values() if lane.open), default=None)

    def sent(self, to: str, frame: Sent, now: float) -> list[Done]:
        """The server's answer: taken."""
        return self._answered(to, frame.key, SentMessage(frame.conversation, frame.seq, frame.time), now)

    def refused(self, to: str, frame: Refused, now: float) -> list[Done]:
        """The server's answer: used up by a final refusal."""
        return self._answered(to, frame.key, SendRefused(frame.code), now)

    def own_message(self, to: str, key: str, sent: SentMessage, now: float) -> list[Done]:
        """One's own message seen in the conversation is an answer, too."""
        return self._answered(to, key, sent, now)

    def out_of_step(self, to: str, frame: OutOfStep, now: float) -> list[Done]:
        """The ordinal was not taken; acted on once, and in the present round only."""
        lane = self._lanes.get(to)
        if lane is None or frame.outbox != lane.outbox or frame.round != lane.round or not lane.open:
            return []
        if frame.reason == "gap" and frame.next >= lane.base:
            self._again(lane)
            return []
        if frame.reason == "gap":
            return self._begin_anew(lane, SendUnknown("forgotten"))
        return self._answered(to, frame.key, SendUnknown(frame.reason), now)

    def error(self, frame: Error, now: float, delay: float = 1.0) -> list[Done]:
        """A send was not handed on: nothing was taken. If that may change it goes again after `delay` seconds, with all
        behind it; else the server will never have this lane's sends."""
        lane = self._lanes.get(frame.to or "")
        if lane is None or frame.outbox != lane.outbox or not lane.open:
            return []
        if not frame.retry:
            return self._begin_anew(lane, SendRefused(frame.code))
        lane.resend_at = min(lane.resend_at, now + delay)
        lane.turned_away = True
        return []

    def _again(self, lane: _Lane) -> None:
        lane.round += 1
        lane.base = lane.open[0].ordinal
        lane.transmitted, lane.turned_away = 0, False

    def _answered(self, to: str, key: str, result: SentMessage | MessengerError, now: float) -> list[Done]:
        lane = self._lanes.get(to)
        if lane is None:
            return []
        for index, queued in enumerate(lane.open):
            if queued.key == key:
                del lane.open[index]
                if index < lane.transmitted:
                    lane.transmitted -= 1
                lane.patience = RESEND_SECONDS
                if not lane.turned_away:
                    lane.resend_at = now + lane.patience
                self._count -= 1
                return [Done(key, result)]
        return []

    def _begin_anew(self, lane: _Lane, result: MessengerError) -> list[Done]:
        """No ordinal of this outbox can be continued (the server has forgotten it, or this is an old copy of it): what was
        transmitted ends with `result`, the rest goes out of a new one."""
        done = [Done(queued.key, result) for queued in lane.open]
        self._count -= len(done)
        lane.open.clear()
        lane.outbox, lane.next_ordinal, lane.transmitted, lane.turned_away = self._new_id(), 1, 0, False
        lane.round, lane.base = lane.round + 1, 1
        return done
