"""Whom this user has blocked, and what this device still has to say of it. Pure; times are seconds
of any one clock.

A decision is said again until the server has answered it. Of two about one user the later counts.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice

from messenger_sdk import events
from messenger_sdk.backoff import LOST_SECONDS, ask_again
from messenger_sdk.errors import DecisionRefused
from schemas import frames

_AT_ONCE = 2
"""Decisions in one go: a session has 8 questions for everything."""

Question = frames.Block | frames.Unblock | frames.GetPeople
Happenings = Sequence[events.PersonChanged | events.DecisionEnded]


class People:
    """`jitter` from [0, 1), `ids` for the questions."""

    def __init__(self, jitter: Callable[[], float], ids: Iterator[int]) -> None:
        self.blocked: set[str] = set()
        self.known = False
        """The list has come, and the device keeps it."""
        self._jitter = jitter
        self._ids = ids
        self._followed = False
        self._list_due = False
        self._wanted: dict[str, bool] = {}
        """Who is blocked, or no more, as was decided and has no answer, in order."""
        self._asked: dict[int, str] = {}
        """The last questions → about whom; "" for the list."""
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

    def block(self, user: str, blocked: bool, now: float) -> None:
        """Block a user, or do so no more."""
        self._wanted.pop(user, None)
        self._wanted[user] = blocked
        self._ask_at = now

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
            asked.append(frames.GetPeople(self._ask("")))
        for user, blocked in islice(self._wanted.items(), _AT_ONCE):
            kind = frames.Block if blocked else frames.Unblock
            asked.append(kind(self._ask(user), user))
        return asked

    def wake_at(self) -> float | None:
        """When to look for questions again, if nothing happens before."""
        return self._ask_at

    def person(self, frame: frames.Person, now: float) -> Happenings:
        """What this user has decided has come: pushed, or as an answer."""
        self._pushed.add(frame.user)
        news = self._news(frame.user, frame.blocked)
        if frame.id is None or self._asked.pop(frame.id, None) != frame.user:
            return news
        del self._wanted[frame.user]
        self._failures = 0
        self._go_on(now)
        changed = events.PersonChanged(frame.user, frame.blocked)
        return [*news, events.DecisionEnded(frame.user, changed)]

    def answer(self, frame: frames.People, now: float) -> Happenings:
        """The list; what came meanwhile is newer."""
        if self._asked.pop(frame.id, None) != "":
            return []
        blocked = {one.user for one in frame.people if one.blocked}
        changed = sorted((self.blocked ^ blocked) - self._pushed)
        self.known, self._list_due, self._failures = True, False, 0
        self._go_on(now)
        return [news for user in changed for news in self._news(user, user in blocked)]

    def error(self, frame: frames.Error, now: float) -> Happenings | None:
        """None if the error answers none of these questions; it is asked again, if that may
        help."""
        user = self._asked.pop(frame.id, None) if frame.id is not None else None
        if user is None:
            return None
        if frame.retry:
            self._ask_at = now + ask_again(self._failures, self._jitter())
            self._failures += 1
            return []
        if user == "":
            self._list_due = False
            self._go_on(now)
            return []
        del self._wanted[user]
        self._go_on(now)
        return [events.DecisionEnded(user, DecisionRefused(frame.code))]

    def _ask(self, user: str) -> int:
        id_ = next(self._ids)
        self._asked[id_] = user
        return id_

    def _go_on(self, now: float) -> None:
        """Ask what is left once nothing is under way."""
        if not self._list_due and not self._wanted:
            self._ask_at = None
        elif not self._asked:
            self._ask_at = now

    def _news(self, user: str, blocked: bool) -> list[events.PersonChanged]:
        if blocked == (user in self.blocked):
            return []
        self.blocked ^= {user}
        return [events.PersonChanged(user, blocked)]
