"""Places for work under way. If none is free, users take turns, each in the order of asking."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class FairPlaces:
    """`count` places. Use it inside a running loop."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()
        """By user; the one whose turn it is comes first."""

    @property
    def waiting(self) -> int:
        """How many wait for a place."""
        return sum(map(len, self._waiting.values()))

    @asynccontextmanager
    async def place(self, user: str) -> AsyncIterator[None]:
        """Around the work of a user."""
        if self._free:
            self._free -= 1
        else:
            await self._wait(user)
        try:
            yield
        finally:
            self._hand_on()

    async def _wait(self, user: str) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(user, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # it has got a place in the same moment
                self._hand_on()
            raise

    def _hand_on(self) -> None:
        """Give a place to whose turn it is, or keep it."""
        while self._waiting:
            user, turns = next(iter(self._waiting.items()))
            turn = turns.popleft()
            if turns:
                self._waiting.move_to_end(user)
            else:
                del self._waiting[user]
            if not turn.done():  # who was cancelled needs none
                turn.set_result(None)
                return
        self._free += 1
