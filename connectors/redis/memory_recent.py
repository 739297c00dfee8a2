"""The port of recent windows in memory. Held to the contract suite of Redis."""

from collections.abc import Iterable, Mapping

from connectors.redis.memory_server import MemoryRedis
from connectors.redis.recent import (
    SLACK_MESSAGES,
    WINDOW_BYTES,
    WINDOW_MESSAGES,
    WINDOW_SECONDS,
    Window,
    window_key,
)


class MemoryRecentWindows:
    """`RecentWindows` of one numbering."""

    def __init__(
        self, redis: MemoryRedis, log_id: str, window_seconds: float = WINDOW_SECONDS
    ) -> None:
        self._call = redis.call
        self._server = redis.server
        self._log_id = log_id
        self._seconds = window_seconds

    async def read(self, conversation: str) -> Window | None:
        def read() -> Window | None:
            window = self._held(conversation)
            if window is not None:
                self._put(conversation, window, self._server.clock() + self._seconds)
            return window

        return await self._call(read)

    async def keep(self, whole: Mapping[str, Window], more: Mapping[str, Window]) -> None:
        def keep() -> None:
            for conversation, written in whole.items():
                self._put(conversation, _cut(written), self._server.clock() + self._seconds)
            for conversation, added in more.items():
                window = self._held(conversation)
                if window is not None and added.first <= window.last + 1 <= added.last:
                    self._add(conversation, window, added)

        await self._call(keep)

    async def forget(self, conversations: Iterable[str]) -> None:
        def forget() -> None:
            for conversation in forgotten:
                self._server.tables["recent"].pop(window_key(self._log_id, conversation), None)

        forgotten = list(conversations)
        await self._call(forget)

    def _add(self, conversation: str, window: Window, added: Window) -> None:
        news = added.frames[window.last + 1 - added.first :]
        frames = [*window.frames, *news]
        size = sum(len(frame) + 1 for frame in frames)
        longer = Window(window.first, frames)
        too_much = len(frames) > WINDOW_MESSAGES + SLACK_MESSAGES or size > WINDOW_BYTES
        _, until = self._server.tables["recent"][window_key(self._log_id, conversation)]
        self._put(conversation, _cut(longer) if too_much else longer, until)

    def _held(self, conversation: str) -> Window | None:
        key = window_key(self._log_id, conversation)
        held: tuple[Window, float] | None = self._server.tables["recent"].get(key)
        return held[0] if held is not None and held[1] > self._server.clock() else None

    def _put(self, conversation: str, window: Window, until: float) -> None:
        self._server.tables["recent"][window_key(self._log_id, conversation)] = window, until


def _cut(window: Window) -> Window:
    """A window with the oldest messages left out, if there are too many."""
    first, frames = window.first, list(window.frames)
    size = sum(len(frame) + 1 for frame in frames)
    while len(frames) > WINDOW_MESSAGES or (size > WINDOW_BYTES and len(frames) > 1):
        size -= len(frames.pop(0)) + 1
        first += 1
    return Window(first, frames)
