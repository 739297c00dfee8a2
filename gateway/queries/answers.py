"""Answers the questions of devices with `heads`, `page`, `marks`, `presences` or `error` frames."""

import asyncio
import logging
import traceback

from gateway.edge.pacer import Pace, Pacer, always
from gateway.log_throttle import LogThrottle
from gateway.people.lists import ListFull, PeopleLists, change_of, people_of, state_after
from gateway.presence.subscriptions import PresenceSubscriptions, Watcher
from gateway.queries.conversations import ConversationQueries
from gateway.queries.history import History, HistoryUnavailable
from gateway.queries.marks import MarkQueries
from gateway.queries.worker_transport import WorkersUnavailable
from gateway.quotas import Buckets, Limit
from schemas import frames
from schemas.codec import encode_frame, encode_page, person_of
from schemas.codes import Code
from schemas.worker_api import RangeGone

log = logging.getLogger(__name__)

ANSWER_SECONDS = 10.0
"""After this the node tells the device to ask again."""
_BEGUN = 16
"""The node starts to answer so many questions within 4 ms; more wait."""
_MORE = Pace(1, 0.2, 1.0, faster=1.005)
"""Of what is beyond users' free questions it starts to answer so many pages; they cost workers,
Redis and the archive more than they cost the node."""
_FREE_FOR_LONG = 0.4
"""A device asks much when it comes, and little after that."""
OF_A_USER = 8
"""Questions of one user, from all devices, that are being answered at once; more wait. So whatever
a user asks, there are few of those questions before those of others: at workers, in Redis, and at
the archive."""


class _Places:
    """Of one user."""

    __slots__ = ("asked", "free")

    def __init__(self) -> None:
        self.free = asyncio.Semaphore(OF_A_USER)
        self.asked = 0
        """Questions that have a place, or wait for one."""


class QuestionAnswerer:
    """Use it inside a running loop. A user may ask `free` at once, in pages of history, and a part
    of it (_FREE_FOR_LONG) each second; what is beyond waits for its turn among others who ask so
    much."""

    def __init__(
        self,
        conversations: ConversationQueries,
        history: History,
        marks: MarkQueries,
        subscriptions: PresenceSubscriptions,
        people: PeopleLists,
        free: float,
    ) -> None:
        self._conversations = conversations
        self._history = history
        self._marks = marks
        self._subscriptions = subscriptions
        self._people = people
        self._pacer = Pacer(always(_BEGUN))
        self._slow = Pacer(_MORE)
        self._free = Buckets(Limit(free * _FREE_FOR_LONG, free))
        self._clock = asyncio.get_running_loop().time
        self._places: dict[str, _Places] = {}
        self._unanswered = LogThrottle(log.info)
        self._failed = LogThrottle(log.error)

    async def answer(self, connection: Watcher, question: frames.Question) -> bytes:
        """The frame that answers a question of a connection's user, who may ask it. Raises nothing,
        and returns within ANSWER_SECONDS."""
        kind, user = type(question).__name__, connection.user
        places = self._places.get(user)
        if places is None:
            places = self._places[user] = _Places()
        places.asked += 1
        try:
            async with asyncio.timeout(ANSWER_SECONDS), places.free:
                cost = cost_of(question)
                if self._free.take(user, cost, self._clock()):
                    await self._slow.wait(user)
                    self._slow.spend(cost - 1)
                else:
                    await self._pacer.wait(user)
                return await self._answer(connection, question)
        except (WorkersUnavailable, HistoryUnavailable, TimeoutError) as error:
            self._unanswered(f"a {kind} of {user} cannot be answered now: {error!r}")
        except RangeGone:
            return error_frame(question.id, Code.RANGE_GONE)
        except Exception as error:  # a fault of ours must not leave the device without an answer
            place = traceback.extract_tb(error.__traceback__)[-1]
            self._failed(
                f"answering a {kind} of {user} failed: {error!r} at {place.filename}:{place.lineno}"
            )
        finally:
            places.asked -= 1
            if not places.asked:
                del self._places[user]
        return error_frame(question.id, Code.TRY_LATER)

    async def _answer(self, connection: Watcher, question: frames.Question) -> bytes:
        if isinstance(question, frames.Sync):
            return encode_frame(await self._conversations.heads(connection.user, question))
        if isinstance(question, frames.Watch):
            return encode_frame(await self._subscriptions.watch(connection, question))
        if isinstance(question, frames.GetMarks):
            return encode_frame(await self._marks.marks(connection.user, question))
        if isinstance(question, frames.GetPeople):
            decided = await self._people.of(connection.user)
            return encode_frame(people_of(question.id, decided))
        if isinstance(question, frames.Decision):
            return await self._decide(connection.user, question)
        page = await self._history.of(connection.user).page(
            question.conversation, question.before, question.after, question.limit
        )
        return encode_page(question.id, question.conversation, page.known, page.frames, page.first)

    async def _decide(self, user: str, question: frames.Decision) -> bytes:
        change = change_of(user, question)
        decided = await self._people.change(change)
        try:
            state = state_after(decided, change)
        except ListFull:
            return error_frame(question.id, Code.LIST_FULL)
        return encode_frame(person_of(change.other, state, question.id))


def error_frame(id_: int | None, code: Code, retry_after: int | None = None) -> bytes:
    """The `error` that answers a command; `id_` is the command's, if it has one."""
    return encode_frame(
        frames.Error(code.number, code.retry, code.text, id=id_, retry_after=retry_after)
    )


def cost_of(question: frames.Question) -> float:
    """What a question costs, in pages of history."""
    if isinstance(question, frames.Sync):
        return 1 + len(question.cursors) / 100
    if isinstance(question, frames.GetMarks):
        return 1 + len(question.conversations) / 100
    if isinstance(question, frames.Watch):
        return 1 + len(question.users) / 20
    return 1.0
