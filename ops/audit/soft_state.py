"""Judges what Redis holds: windows of recent messages by number (R16), and routes."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from connectors.redis.client import RedisClient
from connectors.redis.recent import Window
from connectors.redis.routes import LEASE_SECONDS
from connectors.redis.survey import FoundRoute, RedisSurvey
from ops.audit.claims import Claim, Claims
from ops.audit.recent import content
from ops.audit.verdict import Place, Verdict
from schemas.codec import Undecodable, decode_server_frames
from schemas.frames import Message

_KEYS = 100
"""Of Redis looked at in one step: at most some 13 MB of windows."""
_ROUTE = re.compile(r"(\S+) (\d+) (\d+)")
_MAX_SUSPECTS = 1000

R = TypeVar("R")


class RedisAudit:
    """Judges windows of the numbering `log_id`, and routes to `slots` slots, some keys at a time.
    A window's messages become claims."""

    def __init__(self, url: str, log_id: str, slots: int, verdict: Verdict, claims: Claims) -> None:
        self._url = url
        self._log_id = log_id
        self._slots = slots
        self._verdict = verdict
        self._claims = claims
        self._windows_at = self._routes_at = 0
        self._windows_done = False
        self._suspects: dict[FoundRoute, float] = {}
        """Routes to a slot that their node does not hold, and since when: a node that has just
        taken another slot writes its routes anew."""

    def read_on(self) -> bool:
        """Judge the next keys: windows, then routes. False if there are more. Raises
        RedisUnavailable."""
        return asyncio.run(self._with_redis(self._read_on))

    async def _with_redis(self, work: Callable[[RedisSurvey], Awaitable[R]]) -> R:
        client = RedisClient(self._url)
        try:
            return await work(RedisSurvey(client))
        finally:
            await client.close()

    async def _read_on(self, redis: RedisSurvey) -> bool:
        if not self._windows_done:
            self._windows_at, windows = await redis.windows(self._log_id, self._windows_at, _KEYS)
            for conversation, window in windows:
                if window is not None:
                    self._window(conversation, window)
            self._windows_done = not self._windows_at
            return False
        await self._look_at_routes(redis)
        self._windows_done = bool(self._routes_at)
        return not self._windows_done

    def _window(self, conversation: str, window: Window) -> None:
        self._verdict.figures["windows"] += 1
        for seq, frame in enumerate(window.frames, window.first):
            place = Place("window in Redis", conversation=conversation, seq=seq)
            try:
                messages = decode_server_frames(frame)
            except Undecodable as error:
                self._check_readable(place, str(error))
                continue
            for message in messages:
                if not isinstance(message, Message):
                    self._check_readable(place, "it is no message")
                    continue
                self._check_place(place, message)
                changed = message.erased or message.version not in (0, message.seq)
                said = content(message.key, message.time, message.sender, message.body)
                self._claims.add(Claim(place, "in a window", said, not changed))

    async def _look_at_routes(self, redis: RedisSurvey) -> None:
        self._routes_at, routes = await redis.routes(self._routes_at, _KEYS)
        holders = await redis.holders(self._slots)
        now = time.monotonic()
        for route in routes:
            self._verdict.figures["routes"] += 1
            read = _ROUTE.fullmatch(route.value)
            if read is None or int(read[2]) >= self._slots:
                self._check_route(route)
            elif _misleads(read[1], int(read[2]), holders) and (
                len(self._suspects) < _MAX_SUSPECTS
            ):
                self._suspects.setdefault(route, now)
        if not self._routes_at and self._suspects:
            await self._look_at_suspects(redis)

    async def _look_at_suspects(self, redis: RedisSurvey) -> None:
        """Wait until leases of before have run out, and look again."""
        suspects, self._suspects = self._suspects, {}
        due = max(suspects.values()) + LEASE_SECONDS + 1.0
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        holders = await redis.holders(self._slots)
        for route in suspects:
            node, slot, _ = route.value.split(" ")
            same = await redis.route(route.user, route.device) == route.value
            if same and _misleads(node, int(slot), holders):
                self._check_lease(route)

    # Each check adds to the verdict what it finds, and nothing else depends on it.

    def _check_readable(self, place: Place, error: str) -> None:
        self._verdict.add("phantom", f"nobody can read it: {error}", place)

    def _check_place(self, place: Place, message: Message) -> None:
        if (message.conversation, message.seq) != (place.conversation, place.seq):
            self._verdict.add("inconsistent-offsets", "another message stands in its place", place)

    def _check_route(self, route: FoundRoute) -> None:
        self._verdict.add("phantom", "it names no slot that there is", _of(route))

    def _check_lease(self, route: FoundRoute) -> None:
        self._verdict.add("phantom", "its node lives, and holds another slot", _of(route))


def _misleads(node: str, slot: int, holders: dict[int, str]) -> bool:
    """Whether lookups use the route, and its node does not read that slot."""
    return slot not in holders and node in holders.values()


def _of(route: FoundRoute) -> Place:
    return Place(f"route of {route.user}/{route.device} in Redis")
