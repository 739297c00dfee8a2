"""One device of a user, as a pure object: frames and commands in, events and frames out.

It knows no socket, no clock and no disk. Whoever drives it (client.py, a test, a simulation)

- gives it each frame of the server (`receive`) and says when a session has ended (`disconnected`),
- sends what `due` gives, now and again at `wake_at`; before the frames leave, the `changes` that
  the device made until then have to be saved,
- writes down its `notes` after each call,
- hands its events to the application, and says when the application has seen a message (`shown`).

Times are seconds of any one clock.
"""

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from messenger_sdk.catching_up import MAX_CATCHING_UP
from messenger_sdk.errors import FolderOfAnother
from messenger_sdk.events import (
    Ended,
    Event,
    MarksChanged,
    MessageReceived,
    PrivacyChanged,
    TokenExpires,
    Typing,
)
from messenger_sdk.history import AT_ONCE, History
from messenger_sdk.inbox import Inbox
from messenger_sdk.people import Kind, People
from messenger_sdk.sends import Sends
from messenger_sdk.storage import Change, LogMet, Note, Owned, SavedSend, Stored
from messenger_sdk.watch_list import WatchList
from schemas import frames

TYPING_SECONDS = 3.0
"""From one `typing` frame of a conversation to the next."""
_NOTHING = Stored()

Happening = Event | Ended
Happenings = Sequence[Happening]


class Device:
    """`stored` is what it begins with. `jitter` from [0, 1); `new_id` makes random ids of 32 hex
    digits."""

    def __init__(
        self, stored: Stored, jitter: Callable[[], float], new_id: Callable[[], str]
    ) -> None:
        self.user = stored.user
        """Empty before the first welcome of a new device."""
        self.online = False
        self._jitter = jitter
        self._ids = itertools.count(2)
        self._changes: list[Change] = []
        self._notes: list[Note] = []
        self._history = History(jitter, self._ids)
        self._sends = Sends(self.user, stored, new_id, self._history, self._changes.append)
        self._watch_list = WatchList(jitter, self._ids)
        self._people = People(jitter, self._ids)
        self._typed: dict[str, float] = {}
        self._typing: list[frames.Typing] = []
        self._renewal: list[frames.Renew] = []
        self._inbox = self._new_inbox(stored)

    # From the server

    def receive(self, frame: frames.ServerFrame, now: float) -> Happenings:
        """A frame has come. Returns what happened because of it, in order.

        Raises FolderOfAnother for a welcome of another user than the stored one; then nothing may
        be sent.
        """
        handler = self._HANDLERS.get(type(frame))
        return () if handler is None else handler(self, frame, now)

    def disconnected(self) -> None:
        """The session has ended. After the next welcome the device sends and asks again for
        everything that has no answer."""
        self.online = False
        self._typing.clear()
        self._renewal.clear()

    # To the server

    def due(self, now: float) -> list[frames.Command]:
        """The frames to send now, in order; none while there is no session."""
        if not self.online:
            return []
        typing, self._typing = self._typing, []
        renewal, self._renewal = self._renewal, []
        return [
            *renewal,
            *self._sends.transmit(now),
            *self._inbox.marks.receipts(),
            *self._questions(now),
            *typing,
        ]

    def wake_at(self) -> float | None:
        """When something will be due if nothing happens before; None: never."""
        if not self.online:
            return None
        return min((at for part in self._parts if (at := part.wake_at()) is not None), default=None)

    def changes(self) -> list[Change]:
        """What was changed since this was last called. It must be saved before frames that `due`
        gives from now on, or has given before, leave the device."""
        changes = self._changes.copy()
        self._changes.clear()
        return changes

    def notes(self) -> list[Note]:
        """What was noted since this was last called."""
        notes = self._notes.copy()
        self._notes.clear()
        return notes

    # From the application

    def submit(self, to: str, body: str) -> str:
        """Queue a message to the user `to`; its key. A SendEnded with this key is its result.

        Raises OutboxFull, InvalidId, and SendRefused for a body that the server would refuse.
        """
        return self._sends.submit(to, body)

    def change(self, to: str, seq: int, body: str) -> str:
        """Queue a new text for message `seq` that this user has sent to `to`; an empty one deletes
        it for everybody. Otherwise as `submit`."""
        return self._sends.submit(to, body, seq)

    def history(
        self,
        conversation: str,
        before: int | None = None,
        after: int | None = None,
        limit: int = 50,
    ) -> int:
        """Ask for the newest messages below `before`, or the oldest above `after`; of neither, the
        newest. A HistoryEnded with the id that this returns is the result."""
        return self._history.ask(conversation, before, after, limit)

    def cancel_history(self, id_: int) -> None:
        """Nobody waits for this question any more."""
        self._history.cancel(id_)

    def shown(self, message: MessageReceived) -> None:
        """The application has seen a message that `receive` gave, and all before it."""
        self._inbox.shown(message)

    def read(self, conversation: str, seq: int) -> None:
        """The person has read all up to `seq`."""
        self._inbox.read(conversation, seq)

    def watch(self, users: Iterable[str], now: float) -> None:
        """Tell of the presence of these users, the first 200 of them, and of no others."""
        self._watch_list.set(users, now)

    def decide(self, kind: Kind, user: str, is_: bool, now: float) -> None:
        """Block a user, or have them as a contact; or do so no more. Or decline their request. A
        DecisionEnded is the result, after a restart none."""
        self._people.decide(kind, user, is_, now)

    def set_privacy(self, presence: frames.Shown, reads: bool, now: float) -> None:
        """Who sees whether this user is there, and whether others see what they have read. The same
        is the result."""
        self._people.set_privacy(presence, reads, now)

    def follow_people(self, now: float) -> None:
        """Keep what this user has decided about others in step with all devices."""
        self._people.follow(now)

    def typing(self, conversation: str, now: float) -> None:
        """The person is writing. At most one frame in TYPING_SECONDS says so."""
        if self.online and now - self._typed.get(conversation, -TYPING_SECONDS) >= TYPING_SECONDS:
            self._typed[conversation] = now
            self._typing.append(frames.Typing(conversation))

    def renew(self, token: str) -> None:
        """A fresh token for this session, of the same user; the next `hello` has one of its own."""
        if self.online:
            self._renewal = [frames.Renew(next(self._ids), token)]

    # What the application may ask

    @property
    def begun(self) -> bool:
        """The first heads have come: it is decided what is history and what this device shows."""
        return self._inbox.timelines.begun

    @property
    def caught_up(self) -> bool:
        """It is online and has given out every message that the server has named."""
        return self.online and self.begun and not self._inbox.catching_up.busy

    @property
    def waits(self) -> bool:
        """There is something that it still has to hear from the server."""
        asks = any(part.wake_at() is not None for part in self._parts)
        return not self.online or asks or self._inbox.catching_up.busy

    def cursors(self) -> dict[str, int]:
        """conversation → last seq given out, or that counts as shown."""
        return self._inbox.timelines.cursors()

    def floors(self) -> dict[str, int]:
        """conversation → last seq that was history when the device began, or went on."""
        return self._inbox.timelines.floors()

    def unanswered(self) -> list[SavedSend]:
        """Sends without an answer, those of before this start included, by recipient and in
        order."""
        return self._sends.unanswered()

    def mark(self, conversation: str, user: str) -> MarksChanged:
        """What a user has received and read of a conversation, as far as this device knows."""
        return self._inbox.mark(conversation, user)

    def unread(self, conversation: str) -> int:
        """How many messages of a conversation the person has not read. A user who writes has read
        what is before."""
        return self._inbox.unread(conversation)

    @property
    def watched(self) -> list[str]:
        """The users whose presence is watched."""
        return self._watch_list.users

    @property
    def presence(self) -> Mapping[str, frames.Presence]:
        """The newest presence of each watched user."""
        return self._watch_list.presence

    @property
    def blocked(self) -> frozenset[str]:
        """Whom this user has blocked, on any device, as far as this device knows."""
        return frozenset(user for user, one in self._people.people.items() if one.blocked)

    @property
    def contacts(self) -> frozenset[str]:
        """Whom this user has as contacts, likewise."""
        return frozenset(user for user, one in self._people.people.items() if one.contact)

    @property
    def requests(self) -> frozenset[str]:
        """Whose requests wait for what this user decides, likewise."""
        return frozenset(user for user, one in self._people.people.items() if one.request)

    @property
    def privacy(self) -> PrivacyChanged:
        """What this user shows to others, likewise."""
        return self._people.privacy

    @property
    def knows_people(self) -> bool:
        """The list that `follow_people` asks for has come."""
        return self._people.known

    # Inside

    @property
    def _parts(self) -> "tuple[_Part, ...]":
        inbox = self._inbox
        return (
            self._sends,
            inbox.catching_up,
            inbox.marks,
            self._watch_list,
            self._people,
            self._history,
        )

    def _new_inbox(self, stored: Stored) -> Inbox:
        return Inbox(self.user, stored, self._jitter, self._ids, self._notes.append)

    def _questions(self, now: float) -> list[frames.Question]:
        inbox = self._inbox
        others = inbox.marks.question(now), self._watch_list.question(now)
        asked = [*(one for one in others if one is not None), *self._people.questions(now)]
        history = self._history.questions(
            now, min(AT_ONCE, MAX_CATCHING_UP - inbox.catching_up.under_way)
        )
        slots = MAX_CATCHING_UP - self._history.under_way
        catching_up = inbox.catching_up.questions(now, slots, inbox.room)
        return [*asked, *history, *catching_up]

    def _welcomed(self, frame: frames.Welcome, now: float) -> Happenings:
        if self.user and self.user != frame.user:
            raise FolderOfAnother(
                f"the folder holds messages of {self.user}, and this is {frame.user}"
            )
        if not self.user:
            self._changes.append(Owned(frame.user))
        self.user = self._sends.user = frame.user
        if self._inbox.log != frame.log:
            if self._inbox.log:
                self._inbox = self._new_inbox(_NOTHING)
            self._inbox.log = frame.log
            self._notes.append(LogMet(frame.log))
        self._inbox.marks.user = frame.user
        self.online = True
        self._sends.begin()
        self._history.begin()
        self._inbox.begin(now)
        self._watch_list.begin(now)
        self._people.begin(now)
        return ()

    def _resync(self, _: frames.Resync, now: float) -> Happenings:
        self._inbox.resync(now)
        self._watch_list.begin(now)
        self._people.begin(now)
        return ()

    def _message(self, frame: frames.Message, now: float) -> Happenings:
        return [*self._sends.seen(frame, now), *self._inbox.message(frame)]

    def _sent(self, frame: frames.Sent, now: float) -> Happenings:
        conversation, seq, time = frame.conversation, frame.seq, frame.time
        ended = self._sends.sent(frame, now)
        if not ended:  # answered already, or of an earlier life, to which nobody pushes the message
            return self._inbox.goes_on(conversation, seq)
        body, changes = ended[0].body, ended[0].changes
        own = frames.Message(
            *(conversation, seq, self.user, frame.key, time, body),
            erased=bool(changes) and not body,
            changes=changes,
            version=seq if changes else 0,
        )
        return [*ended, *self._inbox.message(own)]

    def _page(self, frame: frames.Page, now: float) -> Happenings:
        own = [ended for message in frame.messages for ended in self._sends.seen(message, now)]
        ended = self._history.answer(frame)
        news = self._inbox.page(frame, now) if ended is None else self._sends.looked_up(ended)
        return [*own, *news]

    def _error(self, frame: frames.Error, now: float) -> Happenings:
        if self._inbox.marks.error(frame, now) or self._watch_list.error(frame, now):
            return ()
        decided = self._people.error(frame, now)
        if decided is not None:
            return decided
        ended = self._history.error(frame, now)
        if ended is not False:
            return () if ended is True else self._sends.looked_up(ended)
        news = self._inbox.gone(frame, now)
        return self._sends.error(frame, now) if news is None else news

    def _types(self, frame: frames.UserTyping) -> Happenings:
        decided = self._people.people.get(frame.user)
        if decided is not None and (decided.blocked or decided.request):
            return ()
        return [Typing(frame.conversation, frame.user)]

    def _mark(self, frame: frames.Mark, _: float) -> Happenings:
        return self._inbox.marks_changed([frame] if self._inbox.marks.accept(frame) else [])

    def _marks(self, frame: frames.Marks, now: float) -> Happenings:
        return self._inbox.marks_changed(self._inbox.marks.answer(frame, now))

    _HANDLERS: Mapping[type, Callable[..., Happenings]] = {
        frames.Welcome: _welcomed,
        frames.Resync: _resync,
        frames.Message: _message,
        frames.Sent: _sent,
        frames.Refused: lambda self, frame, now: self._sends.refused(frame, now),
        frames.OutOfStep: lambda self, frame, now: self._sends.out_of_step(frame, now),
        frames.Heads: lambda self, frame, now: self._inbox.heads(frame, now),
        frames.Page: _page,
        frames.Error: _error,
        frames.Presence: lambda self, frame, _: self._watch_list.news([frame]),
        frames.Presences: lambda self, frame, now: self._watch_list.answer(frame, now),
        frames.Person: lambda self, frame, now: self._people.decided(frame, now),
        frames.Privacy: lambda self, frame, now: self._people.decided(frame, now),
        frames.People: lambda self, frame, now: self._people.answer(frame, now),
        frames.UserTyping: lambda self, frame, _: self._types(frame),
        frames.TokenExpires: lambda self, frame, _: [TokenExpires(frame.expires)],
        frames.Mark: _mark,
        frames.Marks: _marks,
    }


class _Part(Protocol):
    def wake_at(self) -> float | None: ...
