"""Whose presence a device watches, and when it asks for it. Pure; times are seconds of any one
clock."""

from collections.abc import Callable, Iterable, Iterator

from messenger_sdk.backoff import LOST_SECONDS, ask_again
from messenger_sdk.events import PresenceChanged
from schemas.frames import MAX_WATCHED, Error, Presence, Presences, Watch


class WatchList:
    """The users this device watches, at most MAX_WATCHED. `jitter` from [0, 1), `ids` for the
    questions."""

    def __init__(self, jitter: Callable[[], float], ids: Iterator[int]) -> None:
        self.presence: dict[str, Presence] = {}
        """The newest of each."""
        self._jitter = jitter
        self._ids = ids
        self.users: list[str] = []
        self._asked = 0
        """The id of the last question of this session, 0 if there was none."""
        self._ask_at: float | None = None
        """When to ask, or to ask again if no answer comes; None: nothing is to be asked."""
        self._failures = 0

    def set(self, users: Iterable[str], now: float) -> None:
        """Watch these users, the first MAX_WATCHED of them, and no others."""
        self.users = list(dict.fromkeys(users))[:MAX_WATCHED]
        self.presence = {user: known for user, known in self.presence.items() if user in self.users}
        self._asked = 0  # an answer that is under way is about other users
        self._ask_at = now

    def begin(self, now: float) -> None:
        """A new session, or what was watched may have been forgotten."""
        self._asked = 0
        self._ask_at = now if self.users else None

    def question(self, now: float) -> Watch | None:
        """What to ask now."""
        if self._ask_at is None or self._ask_at > now:
            return None
        self._ask_at = now + LOST_SECONDS
        self._asked = next(self._ids)
        return Watch(self._asked, self.users)

    def wake_at(self) -> float | None:
        """When to look for a question again, if nothing happens before."""
        return self._ask_at

    def answer(self, presences: Presences, now: float) -> list[PresenceChanged]:
        """The answer: what is news."""
        if presences.id != self._asked:
            return []
        if presences.pending:
            self._later(now)
        else:
            self._failures = 0
            self._ask_at = None
        return self.news(presences.users)

    def error(self, error: Error, now: float) -> bool:
        """Whether the error answers our question; it is asked again, if that may help."""
        if error.id != self._asked or not self._asked:
            return False
        if error.retry:
            self._later(now)
        else:
            self._ask_at = None
        return True

    def news(self, presences: Iterable[Presence]) -> list[PresenceChanged]:
        """These have come, pushed or in an answer: what is news of them."""
        news: list[PresenceChanged] = []
        for presence in presences:
            user = presence.user
            if user in self.users and self.presence.get(user) != presence:
                self.presence[user] = presence
                news.append(PresenceChanged(user, presence.online, presence.last_seen))
        return news

    def _later(self, now: float) -> None:
        self._ask_at = now + ask_again(self._failures, self._jitter())
        self._failures += 1
