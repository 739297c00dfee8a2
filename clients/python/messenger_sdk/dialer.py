"""How the SDK reaches a gateway: a Dialer opens a Link, a Link carries WebSocket text messages.

`aiohttp_dialer.py` is the real one. A program that has another network (a simulation, a test)
brings its own.
"""

from typing import NamedTuple, Protocol


class Closed(NamedTuple):
    """The link has ended. `code` is the WebSocket close code, 0 if there was none."""

    code: int
    reason: str = ""


class Link(Protocol):
    """One connection. Only one task receives, only one sends."""

    async def send(self, message: bytes) -> None:
        """Send one message. Raises ConnectionError when the link has ended, also when that happens
        while it waits."""

    async def receive(self) -> bytes | Closed:
        """The next message, or how the link ended; after that, Closed again."""

    async def close(self) -> None:
        """End the link with close code 1000. Once more does no harm."""


class Dialer(Protocol):
    async def dial(self, url: str) -> Link:
        """A link to the WebSocket at `url` (http or https). Raises OSError if there is none."""
