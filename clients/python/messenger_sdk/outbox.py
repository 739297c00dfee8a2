"""A device's queue of sends as a pure state machine: ordinals, the window, rounds, repeats.

Per recipient, sends are numbered 1, 2, 3 … at their first transmission and keep number and key for
ever. At most 64 are unanswered; the oldest unanswered is sent again, with all behind it, after
`RESEND_SECONDS` without any answer (backing off) and after each reconnect. Answers may come in any
number and from any earlier transmission; time is an argument, in seconds. The journal gets every
change, so that the outbox can be kept on disk and restored (storage.py).
"""

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from messenger_sdk.errors import MessengerError, OutboxFull, SendRefused, SendUnknown
from messenger_sdk.storage import (
    Added,
    Begun,
    Change,
    Finished,
    LaneChanged,
    Numbered,
    SavedSend,
    Stored,
)
from schemas.frames import OUTBOX_WINDOW, Delete, Edit, Error, OutOfStep, Refused, Send, Sent

Sending = Send | Edit | Delete

RESEND_SECONDS = 5.0
MAX_RESEND_SECONDS = 60.0
MAX_QUEUED = 10_000
"""Unanswered and waiting sends of one outbox; more raise OutboxFull."""
_NOTHING = Stored()


class SentMessage(NamedTuple):
    """A message that has its place in the conversation; `time` in ms since 1970, the same for
    everybody."""

    conversation: str
    seq: int
    time: int


class SendEnded(NamedTuple):
    """A send has its result. `changes`: it changes the message with this number; an empty `body`
    deletes that."""

    key: str
    to: str
    body: str
    result: SentMessage | MessengerError
    changes: int = 0


class _Queued:
    __slots__ = ("body", "changes", "key", "ordinal")

    def __init__(self, key: str, body: str, changes: int, ordinal: int = 0) -> None:
        self.key = key
        self.body = body
        self.changes = changes
        self.ordinal = ordinal

    def frame(self, to: str, outbox: str, round_: int) -> Sending:
        head = to, outbox, self.ordinal, self.key
        if not self.changes:
            return Send(*head, self.body, round_)
        if not self.body:
            return Delete(*head, self.changes, round_)
        return Edit(*head, self.changes, self.body, round_)


class _Lane:
    """Sends to one recipient."""

    def __init__(self, outbox: str) -> None:
        self.outbox = outbox
        self.next_ordinal = 1
        self.open: deque[_Queued] = deque()
        self.waiting: deque[_Queued] = deque()
        self.round = 1
        self.base = 1
        """The oldest unanswered ordinal when this round began: whatever the server expects in this
        round is not below it."""
        self.transmitted = 0
        """How many of `open` have been transmitted in this round."""
        self.resend_at = 0.0
        self.patience = RESEND_SECONDS
        self.turned_away = False
        """The gateway did not hand on a send of this round: answers to those before it do not put
        off the next round."""


class Outbox:
    """`new_id` makes random ids of 32 hex digits: one for the outbox, another where the server has
    forgotten it. `journal` is called with each change; it must be saved before the frames that
    `transmit` gives leave the device."""

    def __init__(
        self,
        new_id: Callable[[], str],
        max_queued: int = MAX_QUEUED,
        stored: Stored = _NOTHING,
        journal: Callable[[Change], None] = lambda change: None,
    ) -> None:
        self._new_id = new_id
        self._id = stored.outbox
        self._max_queued = max_queued
        self._journal = journal
        self._lanes: dict[str, _Lane] = {}
        self._count = 0
        if not self._id:
            self._id = new_id()
            journal(Begun(self._id))
        self._restore(stored)

    def __len__(self) -> int:
        """Sends without an answer."""
        return self._count

    def add(self, to: str, key: str, body: str, changes: int = 0) -> None:
        """Queue a send; `changes` as in SendEnded. Raises OutboxFull."""
        if self._count >= self._max_queued:
            raise OutboxFull(f"{self._count} messages wait to be sent")
        self._count += 1
        self._lane(to).waiting.append(_Queued(key, body, changes))
        self._journal(Added(key, to, body, changes))

    def unanswered(self) -> list[SavedSend]:
        """Sends without an answer, by recipient and in order."""
        return [
            SavedSend(queued.key, to, queued.body, queued.ordinal, queued.changes)
            for to, lane in self._lanes.items()
            for queued in (*lane.open, *lane.waiting)
        ]

    def transmit(self, now: float) -> list[Sending]:
        """What should go out now, in order."""
        sends: list[Sending] = []
        for to, lane in self._lanes.items():
            fresh = len(lane.open)
            while lane.waiting and len(lane.open) < OUTBOX_WINDOW:
                queued = lane.waiting.popleft()
                queued.ordinal, lane.next_ordinal = lane.next_ordinal, lane.next_ordinal + 1
                lane.open.append(queued)
                self._journal(Numbered(queued.key, queued.ordinal))
            if fresh < len(lane.open):
                self._lane_changed(to, lane)
            if lane.open and lane.transmitted and now >= lane.resend_at:
                lane.patience = min(lane.patience * 2, MAX_RESEND_SECONDS)
                self._again(to, lane)
            if lane.transmitted < len(lane.open):
                if not lane.transmitted:
                    lane.resend_at = now + lane.patience
                now_sent = list(lane.open)[lane.transmitted :]
                sends += [queued.frame(to, lane.outbox, lane.round) for queued in now_sent]
                lane.transmitted = len(lane.open)
        return sends

    def reconnected(self) -> None:
        """A new session: all that is unanswered goes out again."""
        for to, lane in self._lanes.items():
            if lane.open:
                lane.patience = RESEND_SECONDS
                self._again(to, lane)

    def wake_at(self) -> float | None:
        """When `transmit` will have something if nothing happens before; None: never."""
        return min((lane.resend_at for lane in self._lanes.values() if lane.open), default=None)

    def sent(self, to: str, frame: Sent, now: float) -> list[SendEnded]:
        """The server has taken the message."""
        return self._answered(
            to, frame.key, SentMessage(frame.conversation, frame.seq, frame.time), now
        )

    def refused(self, to: str, frame: Refused, now: float) -> list[SendEnded]:
        """The server refuses the message for good; its ordinal is used up."""
        return self._answered(to, frame.key, SendRefused(frame.code), now)

    def own_message(self, to: str, key: str, sent: SentMessage, now: float) -> list[SendEnded]:
        """The user's own message was seen in the conversation: it was taken."""
        return self._answered(to, key, sent, now)

    def out_of_step(self, to: str, frame: OutOfStep, now: float) -> list[SendEnded]:
        """The server expects another ordinal. It counts once, and in the present round only."""
        lane = self._lanes.get(to)
        if (
            lane is None
            or frame.outbox != lane.outbox
            or frame.round != lane.round
            or not lane.open
        ):
            return []
        if frame.reason == "gap" and frame.next >= lane.base:
            self._again(to, lane)
            return []
        if frame.reason == "gap":
            return self._begin_anew(to, lane, SendUnknown("forgotten"))
        return self._answered(to, frame.key, SendUnknown(frame.reason), now)

    def error(self, frame: Error, now: float, delay: float = 1.0) -> list[SendEnded]:
        """The gateway did not hand a send on. If that may change, the send goes again after `delay`
        seconds, or later if the gateway says so, with all behind it; if not, what was transmitted
        of this lane has failed."""
        to = frame.to or ""
        lane = self._lanes.get(to)
        if lane is None or frame.outbox != lane.outbox or not lane.open:
            return []
        if not frame.retry:
            return self._begin_anew(to, lane, SendRefused(frame.code))
        lane.resend_at = min(lane.resend_at, now + max(delay, (frame.retry_after or 0) / 1000))
        lane.turned_away = True
        return []

    def _restore(self, stored: Stored) -> None:
        for to, outbox, next_ordinal, round_ in stored.lanes:
            lane = self._lanes[to] = _Lane(outbox)
            lane.next_ordinal, lane.round = next_ordinal, round_
        for key, to, body, ordinal, changes in stored.sends:
            lane = self._lane(to)
            (lane.open if ordinal else lane.waiting).append(_Queued(key, body, changes, ordinal))
            self._count += 1
        self.reconnected()

    def _lane(self, to: str) -> _Lane:
        lane = self._lanes.get(to)
        if lane is None:
            lane = self._lanes[to] = _Lane(self._id)
        return lane

    def _lane_changed(self, to: str, lane: _Lane) -> None:
        self._journal(LaneChanged(to, lane.outbox, lane.next_ordinal, lane.round))

    def _again(self, to: str, lane: _Lane) -> None:
        lane.round += 1
        self._lane_changed(to, lane)
        lane.base = lane.open[0].ordinal
        lane.transmitted, lane.turned_away = 0, False

    def _answered(
        self, to: str, key: str, result: SentMessage | MessengerError, now: float
    ) -> list[SendEnded]:
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
                self._journal(Finished(key))
                return [SendEnded(key, to, queued.body, result, queued.changes)]
        return []

    def _begin_anew(self, to: str, lane: _Lane, result: MessengerError) -> list[SendEnded]:
        """The numbering of this outbox cannot go on: the server has forgotten it, or this is an old
        copy of it. Transmitted sends end with `result`; the others get a new outbox."""
        done = [
            SendEnded(queued.key, to, queued.body, result, queued.changes) for queued in lane.open
        ]
        self._count -= len(done)
        for ended in done:
            self._journal(Finished(ended.key))
        lane.open.clear()
        lane.outbox, lane.next_ordinal, lane.transmitted, lane.turned_away = (
            self._new_id(),
            1,
            0,
            False,
        )
        lane.round, lane.base = lane.round + 1, 1
        self._lane_changed(to, lane)
        return done
