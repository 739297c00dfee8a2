"""What this user has decided about others, and what this device still has to say of it. Pure; times
are seconds of any one clock.

A decision is said again until the server has answered it. Of two of one kind about one user the
later counts.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Literal

from messenger_sdk import events
from messenger_sdk.backoff import LOST_SECONDS, ask_again
from messenger_sdk.errors import DecisionRefused
from schemas import frames
from schemas.codec import EVERYBODY

_AT_ONCE = 2
"""Decisions in one go: a session has 8 questions for everything."""

Kind = Literal["blocked", "contact", "declined", "privacy"]
About = tuple[Kind, str]
"""A kind of decision, and about whom."""
Question = frames.Decision | frames.GetPeople
Happenings = Sequence[events.PersonChanged | events.PrivacyChanged | events.DecisionEnded]
_FRAMES: dict[tuple[Kind, bool], Callable[[int, str], frames.Decision]] = {
    ("blocked", True): frames.Block,
    ("blocked", False): frames.Unblock,
    ("contact", True): frames.AddContact,
    ("contact", False): frames.RemoveContact,
    ("declined", True): frames.Decline,
}


class People:
    """`jitter` from [0, 1), `ids` for the questions."""

    def __init__(self, jitter: Callable[[], float], ids: Iterator[int]) -> None:
        self.people: dict[str, events.PersonChanged] = {}
        """All about whom something is decided."""
        self.privacy = events.PrivacyChanged("everyone", True)
        self.known = False
        """The list has come, and the device keeps it."""
        self._jitter = jitter
        self._ids = ids
        self._followed = False
        self._list_due = False
        self._wanted: dict[About, Callable[[int], frames.Decision]] = {}
        """What was decided and has no answer, in order."""
        self._asked: dict[int, About | None] = {}
        """The last questions → about what; None for the list."""
        self._pushed: set[str] = set()
        """Of whom something came while the list was asked for."""
        self._ask_at: float | None = None
        """When to ask, or to ask again if no answer comes; None: nothing is to be asked."""
        self._failures = 0

    def follow(self, now: float) -> None:
        """Ask for the list, now and in each session."""
        if not self._followed:
            self._followed = self._list_due = True
            self._ask_at = now

    def decide(self, kind: Kind, user: str, is_: bool, now: float) -> None:
        """Block a user, or have them as a contact; or do so no more. Or decline their request."""
        self._want((kind, user), lambda id_: _FRAMES[kind, is_](id_, user), now)

    def set_privacy(self, presence: frames.Shown, reads: bool, now: float) -> None:
        """What is shown to others."""
        about: About = "privacy", EVERYBODY
        self._want(about, lambda id_: frames.SetPrivacy(id_, presence, reads), now)

    def begin(self, now: float) -> None:
        """A new session, or something may have passed this device by."""
        self._list_due = self._followed
        self._asked.clear()
        self._go_on(now)

    def questions(self, now: float) -> list[Question]:
        """What to ask now."""
        if self._ask_at is None or self._ask_at > now:
            return []
        self._ask_at = now + LOST_SECONDS
        self._asked.clear()
        self._pushed.clear()
        asked: list[Question] = []
        if self._list_due:
            asked.append(frames.GetPeople(self._ask(None)))
        for about, frame in islice(self._wanted.items(), _AT_ONCE):
            asked.append(frame(self._ask(about)))
        return asked

    def wake_at(self) -> float | None:
        """When to look for questions again, if nothing happens before."""
        return self._ask_at

    def decided(self, frame: frames.Person | frames.Privacy, now: float) -> Happenings:
        """What this user has decided has come: pushed, or as an answer."""
        user = frame.user if isinstance(frame, frames.Person) else EVERYBODY
        self._pushed.add(user)
        news = self._news(frame)
        about = self._asked.get(frame.id) if frame.id is not None else None
        if frame.id is None or about is None or about[1] != user:
            return news
        del self._asked[frame.id], self._wanted[about]
        self._failures = 0
        self._go_on(now)
        return [*news, events.DecisionEnded(about, _event(frame))]

    def answer(self, frame: frames.People, now: float) -> Happenings:
        """The list; what came meanwhile is newer."""
        if self._asked.get(frame.id, "") is not None:
            return []
        del self._asked[frame.id]
        self.known, self._list_due, self._failures = True, False, 0
        self._go_on(now)
        now_said = {one.user: one for one in frame.people}
        users = sorted((self.people.keys() | now_said.keys()) - self._pushed)
        said: list[frames.Person | frames.Privacy] = [
            now_said.get(user, frames.Person(user)) for user in users
        ]
        if EVERYBODY not in self._pushed:
            said.append(frame.privacy)
        return [event for one in said for event in self._news(one)]

    def error(self, frame: frames.Error, now: float) -> Happenings | None:
        """None if the error answers none of these questions; it is asked again, if that may
        help."""
        if frame.id is None or frame.id not in self._asked:
            return None
        about = self._asked.pop(frame.id)
        if frame.retry:
            self._ask_at = now + ask_again(self._failures, self._jitter())
            self._failures += 1
            return []
        if about is None:
            self._list_due = False
        else:
            del self._wanted[about]
        self._go_on(now)
        return [] if about is None else [events.DecisionEnded(about, DecisionRefused(frame.code))]

    def _want(self, about: About, frame: Callable[[int], frames.Decision], now: float) -> None:
        self._wanted.pop(about, None)
        self._wanted[about] = frame
        self._ask_at = now

    def _ask(self, about: About | None) -> int:
        id_ = next(self._ids)
        self._asked[id_] = about
        return id_

    def _go_on(self, now: float) -> None:
        """Ask what is left once nothing is under way."""
        if not self._list_due and not self._wanted:
            self._ask_at = None
        elif not self._asked:
            self._ask_at = now

    def _news(
        self, frame: frames.Person | frames.Privacy
    ) -> list[events.PersonChanged | events.PrivacyChanged]:
        event = _event(frame)
        if isinstance(event, events.PrivacyChanged):
            before, self.privacy = self.privacy, event
            return [] if before == event else [event]
        nothing = events.PersonChanged(event.user, False, False)
        before_ = self.people.pop(event.user, nothing)
        if event != nothing:
            self.people[event.user] = event
        return [] if before_ == event else [event]


def _event(frame: frames.Person | frames.Privacy) -> events.PersonChanged | events.PrivacyChanged:
    if isinstance(frame, frames.Privacy):
        return events.PrivacyChanged(frame.presence, frame.reads)
    return events.PersonChanged(frame.user, frame.blocked, frame.contact, frame.request)
