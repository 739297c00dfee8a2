"""Looking up routes for several partitions in one call to Redis."""

import asyncio
from collections.abc import Mapping, Sequence

from connectors.redis.client import RedisUnavailable
from connectors.redis.routes import Routes

Found = Mapping[str, Sequence[tuple[str, int]]]
"""user → (device, slot) of each connected device."""


class _Question:
    __slots__ = ("answer", "users")

    def __init__(self, users: Sequence[str]) -> None:
        self.users = dict.fromkeys(users)
        self.answer: asyncio.Future[Found] | None = None
        """For those who have joined whoever asks."""


class RouteLookups:
    """Lookups that begin within `collect` seconds, or in one turn of the loop, are one call. The
    first of them makes it. Use it inside a running loop."""

    def __init__(self, routes: Routes, collect: float = 0.0) -> None:
        self._routes = routes
        self._collect = collect
        self._open: _Question | None = None
        """What is about to be asked."""

    async def lookup(self, users: Sequence[str]) -> Found:
        """The routes of at least these users, read after this call began. Raises
        RedisUnavailable."""
        if (joined := self._open) is not None:
            joined.users.update(dict.fromkeys(users))
            if joined.answer is None:
                joined.answer = asyncio.get_running_loop().create_future()
            return await asyncio.shield(joined.answer)
        question = self._open = _Question(users)
        try:
            try:
                await asyncio.sleep(self._collect)
            finally:
                self._open = None
            found = await self._routes.lookup(list(question.users))
        except BaseException as error:
            if question.answer is not None:
                fails = isinstance(error, Exception)
                question.answer.set_exception(error if fails else RedisUnavailable("ask again"))
                question.answer.exception()  # whoever has joined may have gone
            raise
        if question.answer is not None:
            question.answer.set_result(found)
        return found
