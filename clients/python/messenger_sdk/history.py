"""Questions after history that somebody waits for: asked again in each session, and after an error
that may pass."""

import asyncio
from collections.abc import Callable, Iterator, Sequence

from messenger_sdk.backoff import delay
from messenger_sdk.errors import HistoryRefused, MessengerError
from messenger_sdk.events import HistoryPage, received
from schemas import frames

_AT_ONCE = 2
"""Of a session's questions; the others are for catching up."""
_FIRST_RETRY = 3
"""After an error, as after this many failed attempts to connect."""


class History:
    """`put` sends questions, if there is a connection; `ids` for them, `jitter` from [0, 1). Use it
    inside a running loop."""

    def __init__(
        self,
        put: Callable[[Sequence[frames.Question]], None],
        ids: Iterator[int],
        jitter: Callable[[], float],
    ) -> None:
        self._put = put
        self._ids = ids
        self._jitter = jitter
        self._loop = asyncio.get_running_loop()
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._asked: dict[int, tuple[frames.History, asyncio.Future[HistoryPage]]] = {}
        self._stopped: MessengerError | None = None

    async def page(
        self, conversation: str, before: int | None, after: int | None, limit: int
    ) -> HistoryPage:
        """The answer, however long it takes. Raises HistoryRefused, or what the client was stopped
        with."""
        async with self._turns:
            if self._stopped is not None:
                raise self._stopped
            question = frames.History(next(self._ids), conversation, before, after, limit)
            result: asyncio.Future[HistoryPage] = self._loop.create_future()
            self._asked[question.id] = question, result
            try:
                self._put([question])
                return await result
            finally:
                del self._asked[question.id]

    def begin(self) -> None:
        """A new session: what is unanswered is asked again."""
        self._put([question for question, _ in self._asked.values()])

    def answer(self, page: frames.Page) -> bool:
        """Whether the page answers a question of ours."""
        asked = self._asked.get(page.id)
        if asked is not None and not asked[1].done():
            asked[1].set_result(
                HistoryPage(
                    [received(message) for message in page.messages], page.known, page.first
                )
            )
        return asked is not None

    def error(self, error: frames.Error) -> bool:
        """Whether the error answers a question of ours."""
        asked = self._asked.get(error.id or 0)
        if asked is None:
            return False
        if error.retry:
            self._loop.call_later(delay(_FIRST_RETRY, self._jitter()), self._again, asked[0])
        elif not asked[1].done():
            asked[1].set_exception(HistoryRefused(error.code))
        return True

    def stop(self, error: MessengerError) -> None:
        """Whoever waits gets the error, and whoever asks."""
        self._stopped = error
        for _, result in self._asked.values():
            if not result.done():
                result.set_exception(error)

    def _again(self, question: frames.History) -> None:
        if question.id in self._asked:
            self._put([question])
