"""Sends questions in groups: those that come while others are under way go together. It pays where
half of a question's price is the asking."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

_Question = TypeVar("_Question")
_Answer = TypeVar("_Answer")


class _Waiting(NamedTuple, Generic[_Question, _Answer]):
    question: _Question
    answer: "asyncio.Future[_Answer]"


class RequestBatcher(Generic[_Question, _Answer]):
    """`ask(questions)` returns the answers in the same order, or raises for all of them. At most
    `most` questions go together, and at most `at_once` groups at the same time; with `patience` (s)
    a question that has waited for so long goes all the same. A question whose asker has given up is
    left out."""

    def __init__(
        self,
        ask: Callable[[Sequence[_Question]], Awaitable[Sequence[_Answer]]],
        at_once: int,
        most: int,
        patience: float | None = None,
    ) -> None:
        self._ask = ask
        self._most = most
        self._free = at_once
        self._patience = patience
        self._waiting: deque[_Waiting[_Question, _Answer]] = deque()
        self._asking: set[asyncio.Task[None]] = set()

    async def __call__(self, question: _Question) -> _Answer:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[_Answer] = loop.create_future()
        self._waiting.append(_Waiting(question, answer))
        if self._free > 0:
            self._begin()
        elif self._patience is not None and len(self._waiting) == 1:
            loop.call_later(self._patience, self._go_all_the_same)
        return await answer

    def _begin(self) -> None:
        self._free -= 1
        task = asyncio.create_task(self._work())
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)

    def _go_all_the_same(self) -> None:
        if self._waiting:
            self._begin()
            if len(self._waiting) > self._most and self._patience is not None:
                asyncio.get_running_loop().call_later(self._patience, self._go_all_the_same)

    async def _work(self) -> None:
        try:
            while self._waiting:
                group = [
                    self._waiting.popleft() for _ in range(min(len(self._waiting), self._most))
                ]
                group = [one for one in group if not one.answer.done()]
                if group:
                    await self._ask_for(group)
                if self._free < 0:  # one more than `at_once`, for those who had lost patience
                    break
        finally:
            self._free += 1

    async def _ask_for(self, group: Sequence[_Waiting[_Question, _Answer]]) -> None:
        try:
            answers = await self._ask([one.question for one in group])
        except asyncio.CancelledError:
            for one in group:
                one.answer.cancel()
            raise
        except Exception as error:
            for one in group:
                if not one.answer.done():
                    one.answer.set_exception(error)
        else:
            for one, answer in zip(group, answers, strict=True):
                if not one.answer.done():
                    one.answer.set_result(answer)

    async def close(self) -> None:
        """Cancel the questions that are under way, and those that wait."""
        tasks = list(self._asking)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for one in self._waiting:
            one.answer.cancel()
        self._waiting.clear()
