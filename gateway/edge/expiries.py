"""Ends sessions whose tokens have expired, and asks for fresh tokens before that.

One look a second for all sessions: a timer for each would cost memory.
"""

import asyncio
from collections.abc import Callable, Hashable
from typing import Protocol

from schemas.codec import encode_frame
from schemas.codes import Close
from schemas.frames import TokenExpires

ASK_SECONDS = 60.0
"""So long before a token expires its device is asked for a fresh one; at once if it has less."""
_LOOK_SECONDS = 1.0
_TOGETHER = 100
"""Sessions that are asked or ended in one turn of the loop."""


class Expiring(Hashable, Protocol):
    """A session. `due` belongs to `Expiries`."""

    due: int

    @property
    def expires(self) -> float:
        """When its token expires, in Unix seconds."""

    def push(self, frame: bytes) -> None: ...

    def close(self, code: Close, reason: str = "") -> None: ...


class Expiries:
    """The sessions by the second at which something is due. `now` is the time in ms."""

    def __init__(self, now: Callable[[], int]) -> None:
        self._now = now
        self._due: dict[int, set[Expiring]] = {}
        self._looked = now() // 1000

    def put(self, session: Expiring) -> None:
        """A session has been welcomed, or has a fresh token."""
        self.leave(session)
        self._wait(session, session.expires - ASK_SECONDS)

    def leave(self, session: Expiring) -> None:
        """It has ended. Of no session that is not here this changes anything."""
        waiting = self._due.get(session.due)
        if waiting is not None:
            waiting.discard(session)
            if not waiting:
                del self._due[session.due]
        session.due = 0

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            await self._look()

    def _wait(self, session: Expiring, at: float) -> None:
        session.due = max(int(at) + 1, self._looked + 1)
        self._due.setdefault(session.due, set()).add(session)

    async def _look(self) -> None:
        now = self._now() // 1000
        if now - self._looked > len(self._due):  # the clock has jumped
            seconds = sorted(second for second in self._due if second <= now)
        else:
            seconds = [second for second in range(self._looked + 1, now + 1) if second in self._due]
        self._looked = max(self._looked, now)
        seen = 0
        for second in seconds:
            for session in self._due.pop(second, ()):
                if session.due == second:  # it has not ended meanwhile, nor got a fresh token
                    self._serve(session)
                seen += 1
                if seen % _TOGETHER == 0:
                    await asyncio.sleep(0)

    def _serve(self, session: Expiring) -> None:
        expires = session.expires
        if self._now() >= expires * 1000:
            session.close(Close.TOKEN_EXPIRED)
        else:
            session.push(encode_frame(TokenExpires(int(expires * 1000))))
            self._wait(session, expires)
