"""R16: windows of recent messages in Redis."""

import random
from typing import Any

import connectors.redis.memory_recent
import simulation.world
from connectors.redis.memory_recent import MemoryRecentWindows
from connectors.redis.recent import Window
from gateway.queries.history import History
from gateway.queries.recent import RecentPages
from simulation.history import Step
from tests.simulation.mutations.mutation import Mutation
from tests.simulation.mutations.openings import CALM

_READS = {"send": 12, "burst": 4, "close_app": 4, "open_app": 10, "read": 1}


def _one_key(log_id: str, conversation: str) -> str:
    return f"recent:{conversation}"


_passed = RecentPages.passed


def _passes_all(self: Any, event: Any) -> None:
    live = self.live[event.conversation]
    if event.seq > live.last:
        live.last = event.seq - 1
    _passed(self, event)


def _adds_all(self: Any, conversation: str, window: Window, added: Window) -> None:
    frames = [*window.frames, *added.frames]
    _, until = self._server.tables["recent"][f"recent:{self._log_id}:{conversation}"]
    self._put(conversation, Window(window.first, frames), until)


async def _keeps_all(self: Any, whole: Any, more: Any) -> None:
    def keep() -> None:
        for conversation, window in whole.items():
            self._put(conversation, window, self._server.clock() + self._seconds)
        for conversation, added in more.items():
            window = self._held(conversation)
            if window is not None and added.last > window.last:
                _adds_all(self, conversation, window, added)

    await self._call(keep)


_page = History.page


async def _believes_the_window(
    self: Any, conversation: str, before: Any, after: Any, limit: int
) -> Any:
    if before is None and after is None:
        window = await self._recent.read(conversation)
        if window:
            page = await _page(self, conversation, max(window) + 1, None, limit)
            return page._replace(known=max(window))
    return await _page(self, conversation, before, after, limit)


def _older_redis(chance: random.Random) -> list[Step]:
    """alice/phone comes back, which makes windows. Then Redis comes back with an older file, and
    bob and alice talk on."""
    talks = [Step(0.1, "send", 2, 0) for _ in range(chance.randint(1, 4))]
    return [
        *talks,
        Step(0.0, "close app", 0, 0),
        *talks,
        Step(1.0, "open app", 0, 0),
        Step(2.0, "save redis", 0, 0),
        *talks,
        Step(1.0, "older redis", 0, 0),
        Step(5.0, "send", 2, 0),
        *talks,
    ]


MUTATIONS = [
    Mutation(
        "a window's key does not name the log",
        "R16.1",
        "Redis may have windows of another numbering",
        [
            (connectors.redis.memory_recent, "window_key", _one_key),
            (simulation.world, "window_key", _one_key),
        ],
        _READS,
    ),
    Mutation(
        "a window takes every message",
        "R16.2",
        "what does not follow its last number is added, too",
        [(RecentPages, "passed", _passes_all), (MemoryRecentWindows, "keep", _keeps_all)],
        {**_READS, **CALM},
        opening=_older_redis,
    ),
    Mutation(
        "a window says what is the newest",
        "R16.3",
        "a page without a bound ends where the window does",
        [(History, "page", _believes_the_window)],
        {**_READS, **CALM, "older_redis": 8, "save_redis": 8},
        opening=_older_redis,
    ),
]
