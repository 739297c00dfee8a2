"""Presence at a node: says who has come and gone, and tells the node's devices of whom they watch.

A device that goes with a word (a close frame) is gone at once; one that just vanishes has a grace
to come back, here or elsewhere, so that a bad network does not flicker.
"""

import asyncio
import logging
from collections.abc import Coroutine

import msgspec

from connectors.kafka.ports import QueueFull
from connectors.kafka.producer import KafkaProducer
from connectors.redis.client import RedisUnavailable
from connectors.redis.routes import Routes
from connectors.redis.watchers import WATCH_SECONDS, Watchers
from gateway.coalescing_publisher import CoalescingPublisher
from gateway.queries.conversations import ConversationQueries
from gateway.queries.worker_client import WorkerClient, WorkersUnavailable
from gateway.registry import Connection
from schemas.codec import encode_event, encode_frame, presence_of
from schemas.events import (
    SCHEMA_VERSION,
    DeliveryRecord,
    PresenceChange,
    PresenceDelivered,
    PresenceRecord,
    PresenceState,
    TypingDelivered,
)
from schemas.frames import Presences, UserTyping, Watch
from schemas.ids import InvalidId, UserId, conversation_of, members_of_valid, partition_of, user_id
from schemas.topics import DELIVERIES, PRESENCE_SUBMITTED
from schemas.worker_api import PresenceAnswer, PresenceQuestion

log = logging.getLogger(__name__)

GRACE_SECONDS = 5.0
TYPING_SECONDS = 2.0
"""A conversation's typing is told on at most so often."""
MAX_TYPING = 10_000
"""Conversations of which it is remembered when somebody last typed."""
_COLLECT_SECONDS, _REST_SECONDS = 0.002, 0.1
"""One change alone is told at once; where many come and go, each costs less, and 500 ms is early
enough."""
_WATCHED_AT_ONCE = 1000

_presence = msgspec.json.Decoder(PresenceAnswer)


class _Watched:
    """A user whom devices here watch, and the latest that was told of the user."""

    __slots__ = ("connections", "state")

    def __init__(self) -> None:
        self.connections: set[Connection] = set()
        self.state: PresenceState | None = None

    def learns(self, state: PresenceState) -> bool:
        """Take a state; False if it says no more than what was told."""
        if self.state is not None and not state.outdoes(self.state):
            return False
        self.state = state
        return True


class PresenceNode:
    """Use it inside a running loop. `workers` are the presence workers; `slot` is set while the
    node holds one."""

    def __init__(
        self,
        node: str,
        producer: KafkaProducer,
        workers: WorkerClient,
        ranges: ConversationQueries,
        watchers: Watchers,
        routes: Routes,
    ) -> None:
        self.slot: int | None = None
        self._node = node
        self._producer = producer
        self._workers = workers
        self._ranges = ranges
        self._watchers = watchers
        self._routes = routes
        self._loop = asyncio.get_running_loop()
        self._devices: dict[str, int] = {}
        """user → connections here."""
        self._leaving: dict[str, asyncio.TimerHandle] = {}
        self._watching: dict[str, _Watched] = {}
        self._facts = CoalescingPublisher(
            producer,
            PRESENCE_SUBMITTED,
            _record,
            lambda _, later: later,
            _COLLECT_SECONDS,
            _REST_SECONDS,
        )
        self._typed: dict[tuple[str, str], float] = {}
        self._telling: set[asyncio.Task[None]] = set()

    # Who is here

    def came(self, user: str) -> None:
        """Another connection of a user."""
        self._devices[user] = self._devices.get(user, 0) + 1
        leaving = self._leaving.pop(user, None)
        if leaving is not None:
            leaving.cancel()
        elif self._devices[user] == 1:
            self._say(user, True)

    def went(self, connection: Connection, goodbye: bool) -> None:
        """A connection has ended; `goodbye`: the device said so."""
        self._unwatch(connection)
        user = connection.user
        left = self._devices.get(user, 0) - 1
        if left > 0:
            self._devices[user] = left
            return
        self._devices.pop(user, None)
        if goodbye:
            self._say(user, False)
        else:
            self._leaving[user] = self._loop.call_later(GRACE_SECONDS, self._gone, user)

    def announce(self) -> None:
        """Say again who is here, and whom they watch: it may have been forgotten."""
        for user in (*self._devices, *self._leaving):
            self._say(user, True)
        self._tell(self._watch_again())

    def _gone(self, user: str) -> None:
        del self._leaving[user]
        self._say(user, False)

    def _say(self, user: str, online: bool) -> None:
        self._facts.put(
            user,
            partition_of(user, self._workers.partitions),
            PresenceChange(user, self._node, online),
        )

    # Whom they watch

    async def watch(self, connection: Connection, question: Watch) -> Presences:
        """Watch these users from now on; how they are now. Raises WorkersUnavailable.

        The slot is written down before the workers are asked: what changes later is told to it.
        """
        me = UserId(connection.user)
        names: dict[str, str] = {}
        for name in question.users:
            try:
                names[conversation_of(me, user_id(name))] = name
            except InvalidId:
                continue
        known, complete = await self._ranges.seqs(names) if names else ({}, True)
        allowed = frozenset(names[conversation] for conversation in known)
        self._unwatch(connection)
        connection.watched = allowed
        for user in allowed:
            self._watching.setdefault(user, _Watched()).connections.add(connection)
        if not allowed:
            return Presences(question.id, [], not complete)
        if self.slot is None:
            raise WorkersUnavailable("this node holds no slot")
        try:
            await self._watchers.watch(allowed, self.slot)
        except RedisUnavailable as error:
            raise WorkersUnavailable(str(error)) from None
        asked: dict[int, list[str]] = {}
        for user in allowed:
            asked.setdefault(partition_of(user, self._workers.partitions), []).append(user)
        found, all_found = await self._workers.ask_owners(
            "users",
            _presence,
            asked,
            lambda partitions: PresenceQuestion({number: asked[number] for number in partitions}),
        )
        states = {state.user: state for some in found.values() for state in some}
        others: set[Connection] = set()
        for state in states.values():
            self._push(
                state.user,
                encode_frame(presence_of(state.user, state)),
                state,
                others,
                but=connection,
            )
        for other in others:
            other.flush()
        for user in allowed & self._watching.keys():  # maybe something later was told meanwhile
            if (told := self._watching[user].state) is not None:
                states[user] = told
        present = [
            presence_of(user, states.get(user)) for number in found for user in asked[number]
        ]
        return Presences(question.id, present, not (complete and all_found))

    def deliver(self, event: PresenceDelivered, dirty: set[Connection]) -> None:
        """Queue a change at the connections that watch the user, adding them to `dirty`."""
        self._push(event.user, event.frame, event.state, dirty)

    def _push(
        self,
        user: str,
        frame: bytes,
        state: PresenceState | None,
        dirty: set[Connection],
        but: Connection | None = None,
    ) -> None:
        watched = self._watching.get(user)
        if watched is not None and (state is None or watched.learns(state)):
            for connection in watched.connections - {but}:
                connection.push(frame)
                dirty.add(connection)

    async def keep_watching(self) -> None:
        """Say again and again whom this node's devices watch, until cancelled."""
        while True:
            await asyncio.sleep(WATCH_SECONDS / 3)
            await self._watch_again()

    async def _watch_again(self) -> None:
        users = list(self._watching)
        for start in range(0, len(users), _WATCHED_AT_ONCE):
            if self.slot is None:
                return
            try:
                await self._watchers.watch(users[start : start + _WATCHED_AT_ONCE], self.slot)
            except RedisUnavailable as error:
                log.warning("who is watched cannot be said now: %s", error)
                return

    def _unwatch(self, connection: Connection) -> None:
        for user in connection.watched:
            watched = self._watching[user]
            watched.connections.discard(connection)
            if not watched.connections:
                del self._watching[user]
        connection.watched = frozenset()

    # Typing

    def typing(self, connection: Connection, conversation: str) -> None:
        """The person types: told on, but not too often, and lost if Redis or Kafka is away."""
        now, place = self._loop.time(), (conversation, connection.user)
        if now - self._typed.get(place, -TYPING_SECONDS) < TYPING_SECONDS:
            return
        if len(self._typed) >= MAX_TYPING:
            self._typed.clear()
        self._typed[place] = now
        self._tell(self._tell_typing(connection.user, conversation))

    async def _tell_typing(self, typist: str, conversation: str) -> None:
        peer = next(user for user in members_of_valid(conversation) if user != typist)
        try:
            slots = {slot for _, slot in (await self._routes.lookup([peer]))[peer]}
            event = TypingDelivered(peer, typist, encode_frame(UserTyping(conversation, typist)))
            for slot in slots:
                self._producer.send(
                    DELIVERIES, slot, encode_event(DeliveryRecord(SCHEMA_VERSION, [event]))
                )
        except (RedisUnavailable, QueueFull) as error:
            log.debug("typing is not told: %s", error)

    def deliver_typing(self, event: TypingDelivered, dirty: set[Connection]) -> None:
        """The same for a person who types, to the one who is written to."""
        watched = self._watching.get(event.typist)
        for connection in watched.connections if watched else ():
            if connection.user == event.user:
                connection.push(event.frame)
                dirty.add(connection)

    def _tell(self, telling: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(telling)
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)


def _record(changes: list[PresenceChange]) -> bytes:
    return encode_event(PresenceRecord(SCHEMA_VERSION, changes))
