"""Questions after history that somebody waits for. Pure; times are seconds of any one clock.

A question is asked again in each session, after an error that may pass, and when no answer comes.
"""

from collections.abc import Callable, Iterator

from messenger_sdk.backoff import LOST_SECONDS, ask_again
from messenger_sdk.errors import HistoryRefused
from messenger_sdk.events import HistoryEnded, HistoryPage, received
from schemas import frames

AT_ONCE = 2
"""Questions under way at once; the others of a session are for catching up."""


class History:
    """`jitter` from [0, 1), `ids` for the questions."""

    def __init__(self, jitter: Callable[[], float], ids: Iterator[int]) -> None:
        self._jitter = jitter
        self._ids = ids
        self._open: dict[int, frames.History] = {}
        self._under_way: dict[int, float] = {}
        """id → when it counts as lost."""
        self._not_before: dict[int, float] = {}
        self._full = False
        """No more questions may be asked until an answer comes."""

    def ask(self, conversation: str, before: int | None, after: int | None, limit: int) -> int:
        """Queue a question; its id."""
        id_ = next(self._ids)
        self._open[id_] = frames.History(id_, conversation, before, after, limit)
        return id_

    def cancel(self, id_: int) -> None:
        """Nobody waits for the answer any more."""
        for questions in (self._open, self._under_way, self._not_before):
            questions.pop(id_, None)

    def begin(self) -> None:
        """A new session: nothing is under way."""
        self._under_way.clear()
        self._not_before.clear()

    @property
    def under_way(self) -> int:
        return len(self._under_way)

    def questions(self, now: float, slots: int = AT_ONCE) -> list[frames.History]:
        """What to ask now. `slots`: how many questions may be under way."""
        self._under_way = {id_: at for id_, at in self._under_way.items() if at > now}
        self._not_before = {id_: at for id_, at in self._not_before.items() if at > now}
        asked = [
            question
            for id_, question in self._open.items()
            if id_ not in self._under_way and id_ not in self._not_before
        ][: max(0, slots - len(self._under_way))]
        for question in asked:
            self._under_way[question.id] = now + LOST_SECONDS
        self._full = len(self._under_way) >= slots
        return asked

    def wake_at(self) -> float | None:
        """When to look for questions again, if no answer comes before."""
        waiting = () if self._full else self._not_before.values()
        return min((*waiting, *self._under_way.values()), default=None)

    def answer(self, page: frames.Page) -> HistoryEnded | None:
        """None if the page answers no question of these."""
        if page.id not in self._open:
            return None
        self.cancel(page.id)
        messages = [received(message) for message in page.messages]
        return HistoryEnded(page.id, HistoryPage(messages, page.known, page.first))

    def error(self, error: frames.Error, now: float) -> HistoryEnded | bool:
        """The end of the question that the error answers, or whether it answers one."""
        if error.id is None or error.id not in self._open:
            return False
        if error.retry:
            self._under_way.pop(error.id, None)
            self._not_before[error.id] = now + ask_again(0, self._jitter())
            return True
        self.cancel(error.id)
        return HistoryEnded(error.id, HistoryRefused(error.code))
