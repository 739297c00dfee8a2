"""Tells the other user's devices which users are writing. Such news may be lost, and never waits
long."""

import asyncio
import logging
from collections.abc import Sequence

from cachetools import TTLCache

from connectors.kafka.ports import Producer, QueueFull
from connectors.redis.client import RedisUnavailable
from connectors.redis.routes import Routes
from gateway.presence.subscriptions import PresenceSubscriptions
from schemas.codec import encode_deliveries, encode_frame
from schemas.events import TypingDelivered
from schemas.frames import UserTyping
from schemas.ids import peer_of
from schemas.topics import DELIVERIES

log = logging.getLogger(__name__)

TYPING_SECONDS = 2.0
"""A conversation's typing is relayed at most this often."""
MAX_TYPING = 10_000
"""(conversation, typist) that are remembered, of those that typed last."""
_MAX_WAITING = 1_000
"""What waits for a look at the routes; more is lost."""


class TypingRelay:
    """Use it inside a running loop. One look at the routes is under way at a time, for all who
    typed meanwhile."""

    def __init__(
        self, routes: Routes, producer: Producer, subscriptions: PresenceSubscriptions
    ) -> None:
        self._routes = routes
        self._producer = producer
        self._subscriptions = subscriptions
        self._relayed = TTLCache[tuple[str, str], bool](
            MAX_TYPING, TYPING_SECONDS, asyncio.get_running_loop().time
        )
        """(conversation, typist) that was relayed a moment ago."""
        self._waiting: list[tuple[str, str]] = []
        self._relaying: asyncio.Task[None] | None = None

    def typing(self, typist: str, conversation: str) -> None:
        """A person is writing: relay it, unless that was done a moment ago."""
        place = conversation, typist
        if place in self._relayed or len(self._waiting) >= _MAX_WAITING:
            return
        self._relayed[place] = True
        self._waiting.append(place)
        if self._relaying is None or self._relaying.done():
            self._relaying = asyncio.create_task(self._relay_all())

    async def _relay_all(self) -> None:
        while self._waiting:
            waiting, self._waiting = self._waiting, []
            try:
                await self._relay(waiting)
            except (RedisUnavailable, QueueFull) as error:
                log.debug("typing is not relayed: %s", error)
            except Exception:
                log.exception("typing could not be relayed")

    async def _relay(self, places: Sequence[tuple[str, str]]) -> None:
        peers = [peer_of(conversation, typist) for conversation, typist in places]
        routes = await self._routes.lookup(list(dict.fromkeys(peers)))
        slots: dict[int, list[TypingDelivered]] = {}
        for (conversation, typist), peer in zip(places, peers, strict=True):
            event = TypingDelivered(peer, typist, encode_frame(UserTyping(conversation, typist)))
            for slot in {slot for _, slot in routes[peer]}:
                slots.setdefault(slot, []).append(event)
        for slot, events in slots.items():
            for record in encode_deliveries(events):
                self._producer.send(DELIVERIES, slot, record)

    def deliver(self, event: TypingDelivered) -> None:
        """Push the event to the user's connections that watch the typist."""
        for connection in self._subscriptions.watchers_of(event.typist):
            if connection.user == event.user:
                connection.push(event.frame)
