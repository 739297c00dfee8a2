"""The newest messages of conversations that somebody has opened lately, by number: soft state.

A message never changes once it has its number, and a key names the numbering. So what a window
says is true however old it is; it may only lack what is newer.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from connectors.redis.client import RedisClient
from connectors.redis.connection import Argument

WINDOW_SECONDS = 3600.0
"""A window that nobody has read for so long ends: who opens a conversation mostly comes back to it
within the hour, and a day of windows would cost many times the memory."""
WINDOW_MESSAGES = 100
"""A page has as many at most."""
WINDOW_BYTES = 128 * 1024
"""Of frames; a page has as many at most (MAX_PAGE_BYTES)."""
SLACK_MESSAGES = 32
"""So many more may stand in a window, since cutting it costs more than adding to it."""


class Window(NamedTuple):
    """Encoded `message` frames of the numbers `first`, first + 1 …, at least one. No frame holds a
    line feed."""

    first: int
    frames: Sequence[bytes]

    @property
    def last(self) -> int:
        return self.first + len(self.frames) - 1


class RecentWindows(Protocol):
    """The windows of one numbering. All methods raise RedisUnavailable."""

    async def read(self, conversation: str) -> Window | None:
        """The conversation's window, which from now on lives for WINDOW_SECONDS; None if it has
        none."""

    async def keep(self, whole: Mapping[str, Window], more: Mapping[str, Window]) -> None:
        """Write windows as a whole, and add messages to those that are there. What does not follow
        a window's last number, or stands in it already, is not added. Of what is too much the
        oldest goes. Adding does not make a window live longer."""

    async def forget(self, conversations: Iterable[str]) -> None:
        """Remove windows."""


def window_key(log_id: str, conversation: str) -> str:
    """A numbering that was begun anew gives the same numbers to other messages, and Redis may come
    back with a file from before."""
    return f"recent:{log_id}:{conversation}"


class RedisRecentWindows:
    """`RecentWindows` of the numbering `log_id`, on one Redis server. A window is one string: a
    line with its first and last number, then a line for each frame."""

    def __init__(
        self, client: RedisClient, log_id: str, window_seconds: float = WINDOW_SECONDS
    ) -> None:
        self._client = client
        self._log_id = log_id
        self._ms = int(window_seconds * 1000)
        self._keep = client.script("keep_windows")

    async def read(self, conversation: str) -> Window | None:
        value = await self._client.command("GETEX", self._key(conversation), "PX", self._ms)
        return None if value is None else parse_window(value)

    async def keep(self, whole: Mapping[str, Window], more: Mapping[str, Window]) -> None:
        told: list[Argument] = [self._ms, WINDOW_MESSAGES, SLACK_MESSAGES, WINDOW_BYTES]
        for is_whole, windows in ((1, whole), (0, more)):
            for window in windows.values():
                lines = b"".join([frame + b"\n" for frame in window.frames])
                told += is_whole, window.first, window.last, lines
        await self._keep([self._key(conversation) for conversation in (*whole, *more)], told)

    async def forget(self, conversations: Iterable[str]) -> None:
        if keys := list(map(self._key, conversations)):
            await self._client.command("UNLINK", *keys)

    def _key(self, conversation: str) -> str:
        return window_key(self._log_id, conversation)


def parse_window(value: bytes) -> Window | None:
    """The window that a key holds, None for what this code has not written."""
    head, *frames = value.split(b"\n")
    first, _, last = head.partition(b" ")
    if not (first.isdigit() and last.isdigit() and frames and frames.pop() == b""):
        return None
    window = Window(int(first), frames)
    return window if frames and window.last == int(last) else None
