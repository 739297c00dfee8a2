"""Which connections of this node watch which users, and what the node has told them."""

import asyncio
import contextlib
import logging
from collections.abc import Collection, Hashable, Sequence
from functools import partial
from typing import Protocol

import msgspec

from connectors.redis.client import RedisUnavailable
from connectors.redis.watchers import WATCH_SECONDS, Watchers
from gateway.people.stances import Stances
from gateway.queries.conversations import ConversationQueries
from gateway.queries.worker_client import WorkerClient
from gateway.queries.worker_transport import WorkersUnavailable
from schemas.codec import EVERYBODY, encode_frame, presence_of
from schemas.events import PresenceDelivered, PresenceState
from schemas.frames import Presence, Presences, Watch
from schemas.ids import InvalidId, UserId, conversation_of, user_id
from schemas.worker_api import PresenceAnswer, PresenceQuestion, Stance

log = logging.getLogger(__name__)

_USERS_A_CALL = 1000
_RETRY_SECONDS = 1.0

_presence = msgspec.json.Decoder(list[PresenceAnswer])


class Watcher(Hashable, Protocol):
    """A connection that watches users."""

    @property
    def user(self) -> str: ...

    def push(self, frame: bytes) -> None:
        """Queue a frame; what is queued is written at the end of the loop turn."""


class _Watched:
    """A watched user: the connections that watch, those of them that may see nothing, and the
    latest state that the others were told."""

    __slots__ = ("connections", "hidden", "state")

    def __init__(self) -> None:
        self.connections: dict[Watcher, None] = {}
        """In the order in which they came."""
        self.hidden: set[Watcher] = set()
        self.state: PresenceState | None = None

    def learn(self, state: PresenceState) -> bool:
        """Remember a state; False if it is no later than the one they were told."""
        if self.state is not None and not state.supersedes(self.state):
            return False
        self.state = state
        return True


class PresenceSubscriptions:
    """`workers` are the presence workers; `stances` say who may see whom. Run `keep_watching` as
    long as the node lives."""

    def __init__(
        self,
        workers: WorkerClient,
        conversations: ConversationQueries,
        watchers: Watchers,
        stances: Stances,
    ) -> None:
        self._workers = workers
        self._stances = stances
        self._conversations = conversations
        self._watchers = watchers
        self._slot: int | None = None
        self._watched: dict[str, _Watched] = {}
        self._watch_sets: dict[Watcher, frozenset[str]] = {}
        """connection → the users it watches."""
        self._asked: dict[Watcher, Watch] = {}
        """connection → its latest question that is not answered yet."""
        self._write_now = asyncio.Event()

    def leased(self, slot: int | None) -> None:
        """The node has this slot from now on, or has it again after Redis forgot; None: it has
        none."""
        self._slot = slot
        self._write_now.set()

    async def watch(self, connection: Watcher, question: Watch) -> Presences:
        """From now on a connection watches these users and no others. Returns how they are now, or
        nothing of those without a conversation. Raises WorkersUnavailable.

        The node writes its slot to Redis before it asks anybody, so the workers tell it of every
        change after they answer. What it knew before of who may see whom does not count: nobody
        told it of what a user who was not watched here has decided for everybody.
        """
        self._asked[connection] = question
        try:
            return await self._watch(connection, question)
        finally:
            if self._asked.get(connection) is question:
                del self._asked[connection]

    async def _watch(self, connection: Watcher, question: Watch) -> Presences:
        users, complete = await self._allowed(connection.user, question.users)
        self._go_on(connection, question)
        self._subscribe(connection, users)
        if not users:
            return Presences(question.id, [], not complete)
        if self._slot is None:
            raise WorkersUnavailable("this node has no slot")
        try:
            await self._watchers.watch(users, self._slot)
        except RedisUnavailable as error:
            raise WorkersUnavailable(str(error)) from None
        self._stances.forget(connection.user, users)
        allowed = await self._learn_stances(connection, users)
        self._go_on(connection, question)
        found, all_found = await self._workers.ask_about(
            "users", _presence, allowed, PresenceQuestion
        )
        states = {state.user: state for some in found.values() for state in some}
        self._tell_others(connection, states.values())
        for user in self._watched.keys() & allowed:  # something later may have been delivered since
            if (told := self._watched[user].state) is not None:
                states[user] = told
        asked = self._workers.by_partition(allowed)
        present = [
            self._shown_to(connection, user, states.get(user))
            for number in found
            for user in asked[number]
        ]
        complete = complete and all_found and len(allowed) == len(users)
        return Presences(question.id, present, not complete)

    def _go_on(self, connection: Watcher, question: Watch) -> None:
        """Raises WorkersUnavailable if the question is not the connection's latest any more."""
        if self._asked.get(connection) is not question:
            raise WorkersUnavailable("a later watch of the device replaces this one")

    async def _allowed(self, me: str, users: Collection[str]) -> tuple[Sequence[str], bool]:
        """Those with whom there is a conversation, by name, and whether all could be looked up."""
        names: dict[str, str] = {}
        for name in users:
            with contextlib.suppress(InvalidId):
                names[conversation_of(UserId(me), user_id(name))] = name
        known, complete = await self._conversations.seqs(names) if names else ({}, True)
        return sorted(names[conversation] for conversation in known), complete

    def _shown_to(self, connection: Watcher, user: str, state: PresenceState | None) -> Presence:
        watched = self._watched.get(user)
        hidden = watched is not None and connection in watched.hidden
        return Presence(user, False, 0) if hidden else presence_of(user, state)

    def _subscribe(self, connection: Watcher, users: Collection[str]) -> None:
        """It sees nothing of users whom it did not watch before, until it is known that it may."""
        before = self._watch_sets.pop(connection, frozenset())
        self._unsubscribe(connection, sorted(before.difference(users)))
        if users:
            self._watch_sets[connection] = frozenset(users)
        for user in users:
            if user in before:
                continue
            watched = self._watched.setdefault(user, _Watched())
            watched.connections[connection] = None
            watched.hidden.add(connection)

    async def _learn_stances(self, connection: Watcher, users: Collection[str]) -> Collection[str]:
        """Those of whom it is known whether the connection may see them. Each answer counts from
        the moment when it comes: a later one may follow at once."""
        answers: dict[str, asyncio.Future[bool]] = {}
        for user in users:
            answer = answers[user] = asyncio.get_running_loop().create_future()
            learned = partial(self._learned, connection, user, answer)
            self._stances.look(user, connection.user, learned)
        return [user for user, answer in answers.items() if await answer]

    def _learned(
        self, connection: Watcher, user: str, answer: "asyncio.Future[bool]", stance: Stance | None
    ) -> None:
        watched = self._watched.get(user, _Watched())
        if stance is not None and connection in watched.connections:
            (watched.hidden.add if stance.hides_presence else watched.hidden.discard)(connection)
        if not answer.done():
            answer.set_result(stance is not None)

    def _unsubscribe(self, connection: Watcher, users: Collection[str]) -> None:
        for user in users:
            watched = self._watched[user]
            watched.connections.pop(connection, None)
            watched.hidden.discard(connection)
            if not watched.connections:
                del self._watched[user]

    def ended(self, connection: Watcher) -> None:
        """A connection has ended: it watches nobody."""
        self._asked.pop(connection, None)
        self._unsubscribe(connection, self._watch_sets.pop(connection, frozenset()))

    def _tell_others(self, connection: Watcher, states: Collection[PresenceState]) -> None:
        """What the workers answered may be news to the other connections that watch."""
        for state in states:
            frame = encode_frame(presence_of(state.user, state))
            self._push(state.user, frame, state, but=connection)

    def deliver(self, event: PresenceDelivered) -> None:
        """Push a change to the connections that watch the user."""
        self._push(event.user, event.frame, event.state)

    def _push(
        self,
        user: str,
        frame: bytes,
        state: PresenceState | None,
        but: Watcher | None = None,
    ) -> None:
        watched = self._watched.get(user)
        if watched is not None and (state is None or watched.learn(state)):
            for connection in watched.connections:
                if connection is not but and connection not in watched.hidden:
                    connection.push(frame)

    def watchers_of(self, user: str) -> Collection[Watcher]:
        """The connections here that watch a user, and may see them."""
        watched = self._watched.get(user)
        if watched is None:
            return ()
        return [one for one in watched.connections if one not in watched.hidden]

    def changed(self, user: str, other: str) -> None:
        """`user` has decided something about `other`, or for everybody. Users who watch them may
        see more now, or less."""
        watched = self._watched.get(user)
        for one in dict.fromkeys(c.user for c in watched.connections) if watched else ():
            if other in (one, EVERYBODY):
                self._stances.forget(one, {user})
                self._stances.look(user, one, partial(self._show_or_hide, user, one))

    def _show_or_hide(self, user: str, other: str, stance: Stance | None) -> None:
        if stance is None:
            asyncio.get_running_loop().call_later(_RETRY_SECONDS, self.changed, user, other)
            return
        watched = self._watched.get(user, _Watched())
        for connection in watched.connections:
            if connection.user == other and stance.hides_presence != (connection in watched.hidden):
                watched.hidden ^= {connection}
                shown = self._shown_to(connection, user, watched.state)
                connection.push(encode_frame(shown))

    async def keep_watching(self) -> None:
        """Write to Redis again and again whom this node's connections watch, until cancelled."""
        pause = WATCH_SECONDS / 3
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._write_now.wait()
            self._write_now.clear()
            pause = WATCH_SECONDS / 3 if await self._write_all() else _RETRY_SECONDS

    async def _write_all(self) -> bool:
        """False: Redis is away."""
        users = list(self._watched)
        for start in range(0, len(users), _USERS_A_CALL):
            if self._slot is None:
                break
            try:
                await self._watchers.watch(users[start : start + _USERS_A_CALL], self._slot)
            except RedisUnavailable as error:
                log.debug("the watched users cannot be written now: %s", error)
                return False
        return True
