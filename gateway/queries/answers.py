"""What devices ask, answered: `heads`, `page`, `marks` or `error` frames."""

import asyncio
import logging

from gateway.edge.pacer import Pacer
from gateway.log_throttle import LogThrottle
from gateway.presence.node import PresenceNode
from gateway.queries.conversations import ConversationQueries
from gateway.queries.history import History, HistoryUnavailable
from gateway.queries.marks import MarkQueries
from gateway.queries.worker_client import WorkersUnavailable
from gateway.registry import Connection
from schemas import frames
from schemas.codec import encode_frame, encode_page
from schemas.codes import Code
from schemas.worker_api import RangeGone

log = logging.getLogger(__name__)

ANSWER_SECONDS = 10.0
"""A device that has no answer by then is told to ask again."""
_BEGUN = 16
"""Questions that are begun within 4 ms; more wait for their turn."""


class QuestionAnswerer:
    def __init__(
        self,
        ranges: ConversationQueries,
        history: History,
        marks: MarkQueries,
        presence: PresenceNode,
    ) -> None:
        self._presence = presence
        self._ranges = ranges
        self._history = history
        self._marks = marks
        self._turns = Pacer(_BEGUN)
        self._unanswered = LogThrottle(log.info)

    async def answer(self, connection: Connection, question: frames.Question) -> bytes:
        """The frame that answers a question of a device, which may ask it."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await self._turns.take()
                return await self._answer(connection, question)
        except (WorkersUnavailable, HistoryUnavailable, TimeoutError) as error:
            self._unanswered(f"a question of {connection.user} cannot be answered now: {error!r}")
            return error_frame(question.id, Code.TRY_LATER)
        except RangeGone:
            return error_frame(question.id, Code.RANGE_GONE)

    async def _answer(self, connection: Connection, question: frames.Question) -> bytes:
        if isinstance(question, frames.Sync):
            return encode_frame(await self._ranges.heads(connection.user, question))
        if isinstance(question, frames.Watch):
            return encode_frame(await self._presence.watch(connection, question))
        if isinstance(question, frames.GetMarks):
            return encode_frame(await self._marks.marks(question))
        page = await self._history.page(
            question.conversation, question.before, question.after, question.limit
        )
        return encode_page(question.id, question.conversation, page.known, page.frames, page.first)


def error_frame(id_: int | None, code: Code) -> bytes:
    """The `error` that answers a command, by its id if it has one."""
    return encode_frame(frames.Error(code.number, code.retry, code.text, id=id_))
