"""A device of the model: the SDK's outbox, timelines and catching up, and what its client does with them, without a network or
a clock."""

import itertools
from collections import defaultdict
from collections.abc import Callable
from typing import NamedTuple

from messenger_sdk.catching_up import CatchingUp
from messenger_sdk.outbox import Done, Outbox, SentMessage
from messenger_sdk.timelines import Shown, Timelines
from schemas import frames
from schemas.codec import decode_server_frames, encode_frame, join_frames
from schemas.codes import Close
from schemas.ids import members_of_valid
from tests.property.servers import Line


class Seen(NamedTuple):
    """A message as a device shows it."""

    seq: int
    sender: str
    key: str
    body: str


class Device:
    """`line` is its connection, None while it has none."""

    def __init__(self, user: str, name: str, new_id: Callable[[], str], off: str = "") -> None:
        self.user = user
        self.name = name
        self.line: Line | None = None
        self.online = False
        self.outbox = Outbox(new_id)
        self.timelines = Timelines()
        self.shown: dict[str, list[Seen]] = defaultdict(list)
        self.beginning: dict[str, int] = {}
        """The first heads: what is up to them is history."""
        self.early: dict[str, int] = {}
        """The same by messages that came before these heads."""
        self.unfinished: list[str] = []
        """What went wrong with sends: nothing may."""
        self._off = off
        self._new_id = new_id
        self._bodies: dict[str, str] = {}
        self._catching_up = CatchingUp(self.timelines, lambda: 0.5, itertools.count(2))

    @property
    def busy(self) -> bool:
        """There is something that it waits for."""
        under_way = self._catching_up.busy or self.timelines.behind() or len(self.outbox)
        return bool(self.line is None or not self.online or self.line.down or under_way)

    def send(self, to: str, body: str) -> None:
        key = self._new_id()
        self._bodies[key] = body
        self.outbox.add(to, key, body)

    def connected(self, line: Line) -> None:
        self.line, self.online = line, False
        self._write([encode_frame(frames.Hello(1, 1, self.user, self.name))])

    def disconnect(self) -> None:
        if self.line is not None:
            self.line.broken = True
        self.line, self.online = None, False

    def tick(self, now: float) -> None:
        """Send what is to be sent, ask what is to be asked."""
        if self.line is None or not self.online:
            return
        self._write([encode_frame(send) for send in self.outbox.transmit(now)])
        for question in self._catching_up.questions(now):
            self._write([encode_frame(question)])

    def receive(self, now: float) -> None:
        """The next message on the line, or the news that it is no more."""
        if self.line is None:
            return
        if not self.line.down:
            if self.line.broken:
                self.disconnect()
            return
        message = self.line.down.pop(0)
        if isinstance(message, Close):
            assert message.retry, f"{self.user}/{self.name} was told to stay away: {message.name}"
            self.disconnect()
            return
        for frame in decode_server_frames(message):
            self._take(frame, now)

    def _write(self, encoded: list[bytes]) -> None:
        if encoded and self.line is not None:
            self.line.up.append(join_frames(encoded))

    def _take(self, frame: frames.ServerFrame, now: float) -> None:
        if isinstance(frame, frames.Welcome):
            self.online = True
            self.outbox.reconnected()
            if self._off != "a welcomed device asks" or not self.timelines.begun:
                self._catching_up.begin()
        elif isinstance(frame, frames.Resync):
            self._catching_up.sync()
        elif isinstance(frame, frames.Message):
            self._own(frame, now)
            self._show(self.timelines.take(frame))
        elif isinstance(frame, frames.Sent):
            self._sent(frame, now)
        elif isinstance(frame, frames.OutOfStep):
            self._finish(self.outbox.out_of_step(self._other(frame.conversation), frame, now))
        elif isinstance(frame, frames.Heads):
            if not self.timelines.begun:
                self.beginning |= frame.heads
            self._catching_up.heads(frame, now)
        elif isinstance(frame, frames.Page):
            for message in frame.messages:
                self._own(message, now)
            self._show(self._catching_up.page(frame, now))
        elif isinstance(frame, frames.Error):
            self._error(frame, now)

    def _sent(self, frame: frames.Sent, now: float) -> None:
        body = self._bodies.get(frame.key)
        self._finish(self.outbox.sent(self._other(frame.conversation), frame, now))
        if body is not None:
            message = frames.Message(frame.conversation, frame.seq, self.user, frame.key, frame.time, body)
            self._show(self.timelines.take(message))
        else:
            self.timelines.heads({frame.conversation: frame.seq})

    def _error(self, frame: frames.Error, now: float) -> None:
        shown = self._catching_up.error(frame, now)
        if shown is None:
            self._finish(self.outbox.error(frame, now))
        else:
            self._show(shown)

    def _own(self, message: frames.Message, now: float) -> None:
        if message.sender == self.user:
            sent = SentMessage(message.conversation, message.seq, message.time)
            self._finish(self.outbox.own_message(self._other(message.conversation), message.key, sent, now))

    def _show(self, shown: list[Shown]) -> None:
        for message, missing in shown:
            assert missing == 0
            before = self.shown[message.conversation]
            assert not before or message.seq == before[-1].seq + 1, f"{message.seq} after {before[-1].seq}"
            if not self.timelines.begun:
                self.early.setdefault(message.conversation, message.seq - 1)
            before.append(Seen(message.seq, message.sender, message.key, message.body))

    def _finish(self, done: list[Done]) -> None:
        for key, result in done:
            self._bodies.pop(key, None)
            if not isinstance(result, SentMessage):
                self.unfinished.append(str(result))

    def _other(self, conversation: str) -> str:
        first, second = members_of_valid(conversation)
        return second if first == self.user else first
