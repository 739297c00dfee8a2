"""Windows of recent messages in Redis (connectors/redis/recent.py), as a node reads and keeps them.

A page takes from a window what it needs, by number, and asks for the rest (R16). A page never waits
for a write: a task of the node writes new messages every 0.1 s. Trouble with Redis makes pages
slower and nothing else.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping

from connectors.redis.client import RedisUnavailable
from connectors.redis.recent import (
    WINDOW_BYTES,
    WINDOW_MESSAGES,
    WINDOW_SECONDS,
    RecentWindows,
    Window,
)
from schemas.events import MessageDelivered

GRID_SECONDS = 0.1
"""New messages are written so often: a call for many. A page that comes before asks the worker for
them."""
READ_SECONDS = 0.05
"""The longest that a page waits for its window, some twenty times what Redis needs."""
AWAY_SECONDS = 5.0
"""So long after trouble with Redis no page waits for it."""
LIVE_BYTES = 128 * 1024 * 1024
"""Of all windows that a node keeps in Redis, some 6,000 of 100 short messages. Those read longest
ago go."""
_WAITING_BYTES = 8 * 1024 * 1024
"""Of messages that wait to be written."""

Frames = Mapping[int, bytes]
"""Number → encoded `message` frame."""
_NONE: Frames = {}


class _Live:
    """A window that this node has read or written: its last number, its size in bytes as far as
    this node knows, and until when (loop time) it lives."""

    __slots__ = ("last", "size", "until")

    def __init__(self, window: Window, until: float) -> None:
        self.last = window.last
        self.size = sum(map(len, window.frames))
        self.until = until


class RecentPages:
    """The windows of one node. Use it inside a running loop; run `run` as long as the node
    lives."""

    def __init__(self, windows: RecentWindows) -> None:
        self._windows = windows
        self._clock = asyncio.get_running_loop().time
        self._away_until = 0.0
        self.live: OrderedDict[str, _Live] = OrderedDict()
        """Conversation → its window, the one read last at the end."""
        self.live_bytes = 0
        self._whole: dict[str, Window] = {}
        self._more: dict[str, tuple[int, list[bytes]]] = {}
        """Conversation → first number and frames to add."""
        self._dropped: set[str] = set()
        self._waiting_bytes = 0
        self._news = asyncio.Event()
        self.hits = 0
        self.misses = 0
        self.written = 0
        """Pages whose messages all stood in a window; pages that asked for some; windows that were
        written."""

    def count(self, hit: bool) -> None:
        """A page was read; `hit`: all its messages stood in a window."""
        self.hits += hit
        self.misses += not hit

    async def read(self, conversation: str) -> Frames:
        """What the conversation's window has; nothing if Redis does not answer soon."""
        if self._clock() < self._away_until:
            return _NONE
        try:
            async with asyncio.timeout(READ_SECONDS):
                window = await self._windows.read(conversation)
        except (RedisUnavailable, TimeoutError):
            self._away_until = self._clock() + AWAY_SECONDS
            return _NONE
        if window is None:
            self._end(conversation)
            return _NONE
        self._keep(conversation, window)
        return dict(enumerate(window.frames, window.first))

    def opened(self, conversation: str, window: Frames, page: Frames, known: int) -> None:
        """Somebody has got a page, not all of which stood in the window. `known` is the last seq of
        the conversation."""
        better = window_of(window, page, known)
        if better is not None and self._clock() >= self._away_until:
            self._more.pop(conversation, None)
            self._whole[conversation] = better
            self._keep(conversation, better)
            self._wait(sum(map(len, better.frames)))

    def passed(self, event: MessageDelivered) -> None:
        """A message of a conversation in `live` is delivered to a device of this node."""
        conversation, live = event.conversation, self.live[event.conversation]
        if event.seq <= live.last:
            return
        if event.seq > live.last + 1 or self._clock() >= live.until:
            self._end(conversation)
            return
        size = len(event.frame)
        live.last = event.seq
        if live.size < WINDOW_BYTES:
            live.size += size
            self.live_bytes += size
        if conversation in self._more:
            self._more[conversation][1].append(event.frame)
        else:
            self._more[conversation] = event.seq, [event.frame]
        self._wait(size)

    async def run(self) -> None:
        """Write what is new, until cancelled."""
        while True:
            await self._news.wait()
            await asyncio.sleep(GRID_SECONDS)
            await self._write()

    async def _write(self) -> None:
        self._news.clear()
        whole, more, dropped = self._whole, self._more, self._dropped
        self._clear()
        try:
            if whole or more:
                added = {name: Window(first, frames) for name, (first, frames) in more.items()}
                await self._windows.keep(whole, added)
                self.written += len(whole)
            if forgotten := dropped - self.live.keys():
                await self._windows.forget(forgotten)
        except RedisUnavailable:
            self._away_until = self._clock() + AWAY_SECONDS
            for conversation in (*whole, *more):
                self._end(conversation)

    def _wait(self, size: int) -> None:
        """So many bytes more wait to be written."""
        self._waiting_bytes += size
        if self._waiting_bytes > _WAITING_BYTES:
            for conversation in (*self._whole, *self._more):
                self._end(conversation)
            self._clear()
        self._news.set()

    def _clear(self) -> None:
        self._whole, self._more, self._dropped = {}, {}, set()
        self._waiting_bytes = 0

    def _keep(self, conversation: str, window: Window) -> None:
        """A window lives, and is the one that was used last."""
        before = self._end(conversation)
        now = self._clock()
        live = self.live[conversation] = _Live(window, now + WINDOW_SECONDS)
        if before is not None:  # what has passed since may not be written yet
            live.last = max(live.last, before.last)
        self.live_bytes += live.size
        while True:
            oldest = next(iter(self.live))
            ended = self.live[oldest].until <= now
            if not ended and self.live_bytes <= LIVE_BYTES:
                return
            self._end(oldest)
            if not ended:
                self._dropped.add(oldest)
                self._news.set()

    def _end(self, conversation: str) -> _Live | None:
        """This node adds nothing more to a window."""
        live = self.live.pop(conversation, None)
        if live is not None:
            self.live_bytes -= live.size
        return live


def window_of(window: Frames, page: Frames, known: int) -> Window | None:
    """What is to be written instead of a window, once a page is known, too. None: nothing new. A
    page counts if it reaches up to the last message (`known`), or lies right below the window."""
    found = {**window, **page}
    last = max(found, default=0)
    if last == 0 or (last != known and last not in window):
        return None
    first = last
    while first - 1 in found and last - first + 1 < WINDOW_MESSAGES:
        first -= 1
    if first in window and last in window:
        return None
    return Window(first, [found[seq] for seq in range(first, last + 1)])
