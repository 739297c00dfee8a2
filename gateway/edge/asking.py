"""Questions and changes of a device: what its node must ask others about first."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Protocol

from gateway.edge.node_services import NodeServices
from gateway.effects import Change
from gateway.presence.subscriptions import Watcher
from gateway.queries.answers import ANSWER_SECONDS, cost_of, error_frame
from gateway.quotas import Kind
from schemas.codes import Code
from schemas.events import SubmittedItem
from schemas.frames import MAX_QUESTIONS, Question

log = logging.getLogger(__name__)


class Asker(Watcher, Protocol):
    """The connection; see gateway/edge/connection.py."""

    def failed(
        self, item: SubmittedItem, to: str, code: Code, retry_after: int | None = None
    ) -> None:
        """A send was not handed to Kafka: tell the device."""


class Asking:
    """What one connection asks: at most MAX_QUESTIONS at once."""

    __slots__ = ("_asker", "_services", "_under_way")

    def __init__(self, asker: Asker, services: NodeServices) -> None:
        self._asker = asker
        self._services = services
        self._under_way: set[asyncio.Task[None]] = set()

    def cancel(self) -> None:
        for task in self._under_way:
            task.cancel()

    def ask(self, question: Question) -> None:
        asker = self._asker
        if len(self._under_way) >= MAX_QUESTIONS:
            asker.push(error_frame(question.id, Code.RATE_LIMITED))
        elif wait := self._services.quotas.take(asker.user, Kind.QUESTIONS, cost_of(question)):
            asker.push(error_frame(question.id, Code.QUOTA, wait))
        else:
            self._start(self._answer(question))

    def change(self, change: Change) -> None:
        asker = self._asker
        if len(self._under_way) >= MAX_QUESTIONS:
            asker.failed(change.item, change.to, Code.TRY_LATER)
        elif wait := self._services.quotas.take(asker.user, Kind.QUESTIONS):
            asker.failed(change.item, change.to, Code.QUOTA, wait)
        else:
            self._start(self._submit(change))

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _answer(self, question: Question) -> None:
        asker = self._asker
        try:
            asker.push(await self._services.questions.answer(asker, question))
        except Exception:
            log.exception("a question of %s could not be answered", asker.user)
            asker.push(error_frame(question.id, Code.TRY_LATER))

    async def _submit(self, change: Change) -> None:
        asker, (item, to, _, seq) = self._asker, change
        judged = None
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                judged = await self._services.changes.judge(item, seq)
        except TimeoutError:
            pass
        except Exception:
            log.exception("a change of %s could not be judged", asker.user)
        if judged is None:
            asker.failed(item, to, Code.TRY_LATER)
        else:
            self._services.sends.submit(judged, to, lambda code: asker.failed(item, to, code))
