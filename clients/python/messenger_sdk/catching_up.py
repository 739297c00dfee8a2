"""What a device asks the server for, and when: `sync` after each welcome and `resync`, `history`
for what is new. Pure.

Times are seconds of any one clock. A device asks again, with backoff, when a question has no
answer, when a part of a `sync` could not be answered, and when the log does not have a page yet or
the server cannot read it now. It asks for no page that it has no room for.
"""

from collections.abc import Callable, Iterator

from msgspec.structs import replace

from messenger_sdk.backoff import LOST_SECONDS, ask_again
from messenger_sdk.timelines import Shown, Timelines, syncs
from schemas.frames import MAX_PAGE_MESSAGES, MAX_QUESTIONS, Error, Heads, History, Page, Sync

Question = Sync | History

MAX_CATCHING_UP = MAX_QUESTIONS - 2
"""Questions under way. The server takes MAX_QUESTIONS; the rest are for marks and presence."""
NO_BOUND = 2**53


class CatchingUp:
    """The questions of one device. `jitter` from [0, 1), `ids` for the questions."""

    def __init__(
        self, timelines: Timelines, jitter: Callable[[], float], ids: Iterator[int]
    ) -> None:
        self._timelines = timelines
        self._jitter = jitter
        self._ids = ids
        self._asked: dict[int, Question] = {}
        self._lost_at: dict[int, float] = {}
        """When a question under way counts as lost."""
        self._syncs: list[tuple[float, Sync]] = []
        """Not yet asked, and from when on they may be."""
        self._not_before: dict[str, float] = {}
        """When a conversation may be asked for again whose last page was empty or did not come."""
        self._empty: dict[str, int] = {}
        self._failures = 0
        self._full = False
        """No more questions may be asked until an answer comes."""

    def begin(self) -> None:
        """A new session: nothing is under way."""
        self._asked.clear()
        self._lost_at.clear()
        self._not_before.clear()
        self.sync()

    def sync(self) -> None:
        """Ask after all conversations."""
        self._syncs = [(0.0, sync) for sync in syncs(self._timelines.cursors())]

    def questions(
        self, now: float, slots: int = MAX_CATCHING_UP, room: int = NO_BOUND
    ) -> list[Question]:
        """What to ask now. `slots`: how many questions may be under way; `room`: how many messages
        the device can take, those under way included."""
        for id_ in [id_ for id_, at in self._lost_at.items() if at <= now]:
            lost = self._answered(id_)
            if isinstance(lost, Sync):
                self._syncs.append((now, lost))
        before = set(self._asked)
        self._not_before = {
            conversation: at for conversation, at in self._not_before.items() if at > now
        }
        while len(self._asked) < slots and (sync := self._next_sync(now)) is not None:
            self._put(sync, now)
        under_way = {
            asked.conversation for asked in self._asked.values() if isinstance(asked, History)
        }
        room -= len(under_way) * MAX_PAGE_MESSAGES
        for conversation in self._timelines.behind() if len(self._asked) < slots else ():
            if len(self._asked) >= slots or room < MAX_PAGE_MESSAGES:
                break
            if conversation not in under_way and conversation not in self._not_before:
                after = self._timelines.after(conversation)
                self._put(History(0, conversation, after=after, limit=MAX_PAGE_MESSAGES), now)
                room -= MAX_PAGE_MESSAGES
        self._full = len(self._asked) >= slots
        return [asked for id_, asked in self._asked.items() if id_ not in before]

    @property
    def under_way(self) -> int:
        """How many questions are."""
        return len(self._asked)

    @property
    def busy(self) -> bool:
        """A question is under way, or has to be asked, or the device is behind."""
        return bool(self._asked or self._syncs or self._timelines.behind())

    def wake_at(self) -> float | None:
        """When to look for questions again, if no answer comes before."""
        waiting = () if self._full else (*(at for at, _ in self._syncs), *self._not_before.values())
        return min((*waiting, *self._lost_at.values()), default=None)

    def heads(self, heads: Heads, now: float) -> None:
        """The answer to a sync."""
        asked = self._answered(heads.id)
        if not isinstance(asked, Sync):
            return
        self._timelines.heads(heads.heads)
        if heads.next:
            cursors = {name: cursor for name, cursor in asked.cursors.items() if name > heads.next}
            self._syncs.append((now, replace(asked, after=heads.next, cursors=cursors)))
        if heads.pending:
            self._syncs.append(
                (now + self._patience(), replace(asked, until=heads.next or asked.until))
            )
        else:
            self._failures = 0
        if not self._syncs and not any(isinstance(other, Sync) for other in self._asked.values()):
            self._timelines.begun = True

    def page(self, page: Page, now: float) -> list[Shown]:
        """The answer to a question for a range. Returns what can be shown now."""
        if self._answered(page.id) is None:
            return []
        self._failures = 0
        if page.messages:
            self._empty.pop(page.conversation, None)
        else:
            empty = self._empty.get(page.conversation, 0)
            self._empty[page.conversation] = empty + 1
            self._not_before[page.conversation] = now + ask_again(empty, self._jitter(), first=0)
        shown = self._timelines.page(page.messages, page.first)
        self._timelines.heads({page.conversation: page.known})
        return shown

    def error(self, error: Error, now: float) -> list[Shown] | None:
        """What can be shown now because of an error that answers a question; None if it answers
        none."""
        asked = self._answered(error.id or 0)
        if asked is None:
            return None
        if isinstance(asked, History) and not error.retry:
            return self._timelines.gone(asked.conversation)
        if isinstance(asked, History):
            self._not_before[asked.conversation] = now + self._patience()
        elif error.retry:
            self._syncs.append((now + self._patience(), asked))
        return []

    def _patience(self) -> float:
        self._failures += 1
        return ask_again(self._failures - 1, self._jitter())

    def _next_sync(self, now: float) -> Sync | None:
        for index, (at, sync) in enumerate(self._syncs):
            if at <= now:
                del self._syncs[index]
                return sync
        return None

    def _answered(self, id_: int) -> Question | None:
        self._lost_at.pop(id_, None)
        return self._asked.pop(id_, None)

    def _put(self, question: Question, now: float) -> None:
        id_ = next(self._ids)
        self._asked[id_] = replace(question, id=id_)
        self._lost_at[id_] = now + LOST_SECONDS
