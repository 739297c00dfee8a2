"""Whose presence a device watches: what it asks, and when again. Pure; times in seconds of any one
clock."""

from collections.abc import Callable, Iterable, Iterator

from messenger_sdk.backoff import delay
from schemas.frames import MAX_WATCHED, Error, Presence, Presences, Watch

_FIRST_RETRY = 3
"""After an error, as after this many failed attempts to connect."""


class WatchList:
    """The users this device watches, at most MAX_WATCHED. `jitter` from [0, 1), `ids` for the
    questions."""

    def __init__(self, jitter: Callable[[], float], ids: Iterator[int]) -> None:
        self.presence: dict[str, Presence] = {}
        """The last that was told of each."""
        self._jitter = jitter
        self._ids = ids
        self._users: list[str] = []
        self._asked = 0
        self._ask_at: float | None = None
        self._failures = 0

    def set(self, users: Iterable[str], now: float) -> None:
        """Watch these users, the first MAX_WATCHED of them, and no others."""
        self._users = list(dict.fromkeys(users))[:MAX_WATCHED]
        self.presence = {
            user: known for user, known in self.presence.items() if user in self._users
        }
        self._ask_at = now

    def begin(self, now: float) -> None:
        """A new session, or what was watched may have been forgotten."""
        self._asked = 0
        self._ask_at = now if self._users else None

    def question(self, now: float) -> Watch | None:
        """What to ask now."""
        if self._ask_at is None or self._ask_at > now:
            return None
        self._ask_at = None
        self._asked = next(self._ids)
        return Watch(self._asked, self._users)

    def wake_at(self) -> float | None:
        """When to look for a question again, if nothing happens before."""
        return self._ask_at

    def answer(self, presences: Presences, now: float) -> list[Presence]:
        """The answer: what is news."""
        if presences.id != self._asked:
            return []
        if presences.pending:
            self._later(now)
        else:
            self._failures = 0
        return [presence for presence in presences.users if self.take(presence)]

    def error(self, error: Error, now: float) -> bool:
        """Whether the error answers our question; it is asked again, if that may help."""
        if error.id != self._asked or not self._asked:
            return False
        if error.retry:
            self._later(now)
        return True

    def take(self, presence: Presence) -> bool:
        """A presence has come, pushed or in an answer; True if it is news."""
        if presence.user not in self._users or self.presence.get(presence.user) == presence:
            return False
        self.presence[presence.user] = presence
        return True

    def _later(self, now: float) -> None:
        self._ask_at = now + delay(_FIRST_RETRY + self._failures, self._jitter())
        self._failures += 1
