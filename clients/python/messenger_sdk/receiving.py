"""What the server says, as events in order: messages, marks, presence; and what a device has to ask
and to say for that."""

import itertools
from collections.abc import Callable
from pathlib import Path

from messenger_sdk.catching_up import CatchingUp
from messenger_sdk.events import (
    Event,
    MarksChanged,
    MessageReceived,
    PresenceChanged,
    Typing,
    received,
)
from messenger_sdk.history import History
from messenger_sdk.marks import MarkBook
from messenger_sdk.sending import Sends
from messenger_sdk.shown_file import ShownFile
from messenger_sdk.timelines import Shown, Timelines
from messenger_sdk.watching import WatchList
from schemas import frames


class Receiver:
    """Everything a device knows of its conversations. With a `file` it goes on after a restart
    where it was.

    `emit` gets each event; `ask` is called when there may be `questions`, `say` when there may be
    `receipts`.
    """

    def __init__(
        self,
        file: Path | None,
        clock: Callable[[], float],
        jitter: Callable[[], float],
        ids: "itertools.count[int]",
        sends: Sends,
        history: History,
        emit: Callable[[Event], None],
        ask: Callable[[], None],
        say: Callable[[], None],
    ) -> None:
        self._clock = clock
        self._jitter = jitter
        self._ids = ids
        self._sends = sends
        self._history = history
        self._emit = emit
        self._ask = ask
        self._say = say
        self._shown = None if file is None else ShownFile(file)
        self._log_id, shown, heard, read = (
            self._shown.load() if self._shown else ("", None, None, None)
        )
        self.timelines = Timelines(shown if self._log_id else None)
        self.marks = MarkBook(jitter, ids, heard, read)
        self.watch_list = WatchList(jitter, ids)
        self._catching_up = CatchingUp(self.timelines, jitter, ids)

    def begin(self, welcome: frames.Welcome) -> None:
        """A new session: ask what was missed."""
        if self._log_id and self._log_id != welcome.log:
            self.timelines = Timelines()  # another numbering of messages
            if self._shown is not None:
                self._shown.forget()
            self._catching_up = CatchingUp(self.timelines, self._jitter, self._ids)
            self.marks = MarkBook(self._jitter, self._ids)
        self._log_id = welcome.log
        self.marks.user = welcome.user
        self._catching_up.begin()
        self._ask_all()

    def take(self, frame: frames.ServerFrame) -> None:
        if type(frame) is frames.Message:
            self._sends.seen(frame)
            self._show(self.timelines.take(frame))
        elif type(frame) is frames.Sent:
            self._sent(frame)
        elif type(frame) is frames.Refused:
            self._sends.refused(frame)
        elif type(frame) is frames.OutOfStep:
            self._sends.out_of_step(frame)
        elif type(frame) is frames.Page:
            self._page(frame)
        elif type(frame) is frames.Heads:
            self._heads(frame)
        elif type(frame) is frames.Resync:
            self._catching_up.sync()
            self._ask_all()
        elif type(frame) is frames.Presence:
            self._presence([frame] if self.watch_list.take(frame) else [])
        elif type(frame) is frames.Presences:
            self._presence(self.watch_list.answer(frame, self._clock()))
            self._ask()
        elif type(frame) is frames.UserTyping:
            self._emit(Typing(frame.conversation, frame.user))
        elif type(frame) is frames.Mark:
            self._marks([frame] if self.marks.take(frame) else [])
        elif type(frame) is frames.Marks:
            self._marks(self.marks.answer(frame, self._clock()))
            self._say()
            self._ask()
        elif type(frame) is frames.Error:
            self._error(frame)

    def questions(self) -> list[frames.Question]:
        """What to ask now."""
        now = self._clock()
        others = (self.marks.question(now), self.watch_list.question(now))
        return [
            *self._catching_up.questions(now),
            *(question for question in others if question is not None),
        ]

    def wake_at(self) -> float | None:
        """When to look for questions again, if nothing happens before."""
        wake = (self._catching_up.wake_at(), self.marks.wake_at(), self.watch_list.wake_at())
        return min((at for at in wake if at is not None), default=None)

    def mark(self, mark: frames.Mark) -> MarksChanged:
        """A claim of devices, shown as far as there are messages."""
        head = max(self.timelines.head(mark.conversation), 0)
        received, read = min(mark.received, head), min(mark.read, head)
        return MarksChanged(
            mark.conversation, mark.user, received, mark.received_at, read, mark.read_at
        )

    def shown(self, message: MessageReceived, theirs: bool) -> None:
        """The application has it; `theirs`: it is the other user's. Raises FolderUnreadable if that
        cannot be kept."""
        if theirs:
            self.marks.received(message.conversation, message.seq)
            self._say()
        if self._shown is not None:
            self._shown.save(message.conversation, message.seq, theirs)

    def read(self, conversation: str, seq: int) -> None:
        """The person has read all up to `seq`. Raises FolderUnreadable if that cannot be kept."""
        self.marks.read(conversation, seq)
        if self._shown is not None:
            self._shown.read(conversation, seq)

    def close(self) -> None:
        if self._shown is not None:
            self._shown.close()
            self._shown = None

    def _ask_all(self) -> None:
        """Pushes may have been missed."""
        self.marks.begin(self.timelines.cursors(), self._clock())
        self.watch_list.begin(self._clock())
        self._ask()

    def _sent(self, frame: frames.Sent) -> None:
        send = self._sends.sent(frame)
        if send is not None:
            own = frames.Message(
                frame.conversation, frame.seq, self.marks.user, frame.key, frame.time, send.body
            )
            self._show(self.timelines.take(own))
        else:  # of an earlier life of this device, to which the message itself is not pushed
            self.timelines.heads({frame.conversation: frame.seq})
            self._ask()

    def _show(self, shown: list[Shown]) -> None:
        for message, missing in shown:
            self.marks.shown(message)
            self._emit(received(message, missing))
        if shown:
            self._say()
        self._ask()

    def _presence(self, news: list[frames.Presence]) -> None:
        for presence in news:
            self._emit(PresenceChanged(presence.user, presence.online, presence.last_seen))

    def _marks(self, news: list[frames.Mark]) -> None:
        for mark in news:
            self._emit(self.mark(mark))

    def _heads(self, heads: frames.Heads) -> None:
        before = self.timelines.begun
        self._catching_up.heads(heads, self._clock())
        self.marks.found(heads.heads, self._clock())
        if self.timelines.begun and not before and self._shown is not None:
            self._shown.begin(self._log_id, self.timelines.floors())
        self._ask()

    def _page(self, page: frames.Page) -> None:
        for message in page.messages:
            self._sends.seen(message)
        if not self._history.answer(page):
            self._show(self._catching_up.page(page, self._clock()))

    def _error(self, error: frames.Error) -> None:
        if self.marks.error(error, self._clock()) or self.watch_list.error(error, self._clock()):
            self._ask()
            return
        if self._history.error(error):
            return
        shown = self._catching_up.error(error, self._clock())
        if shown is None:
            self._sends.error(error)
        else:
            self._show(shown)
