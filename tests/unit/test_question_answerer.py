"""A device always gets an answer to its question, within a bound."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from gateway.queries.answers import ANSWER_SECONDS, OF_A_USER, QuestionAnswerer
from gateway.queries.history import HistoryUnavailable
from gateway.queries.worker_transport import WorkersUnavailable
from schemas.codec import decode_server_frames
from schemas.codes import Code
from schemas.frames import Block, Error, GetMarks, History, Question, Sync, Watch
from schemas.worker_api import RangeGone
from tests.harness.virtual import run
from tests.unit.test_gateway_parts import Socket


class Failing:
    """Every part that answers questions, failing in one way."""

    def __init__(self, fail: Callable[[], Awaitable[Any]]) -> None:
        self._fail = fail

    async def heads(self, *_: object) -> Any:
        return await self._fail()

    page = marks = watch = change = heads

    def of(self, user: str) -> "Failing":
        return self


QUESTIONS = [Sync(7, {}), History(7, "alice:bob"), GetMarks(7, []), Watch(7, []), Block(7, "bob")]


def answer(question: Question, fail: Callable[[], Awaitable[Any]]) -> Error:
    async def scenario() -> bytes:
        failing: Any = Failing(fail)
        answerer = QuestionAnswerer(failing, failing, failing, failing, failing, 100.0)
        async with asyncio.timeout(ANSWER_SECONDS + 1):
            return await answerer.answer(Socket("alice", "phone"), question)

    (frame,) = decode_server_frames(run(scenario()))
    assert isinstance(frame, Error)
    assert frame.id == 7
    return frame


def raising(error: Exception) -> Callable[[], Awaitable[Any]]:
    async def fail() -> None:
        raise error

    return fail


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: type(question).__name__)
@pytest.mark.parametrize(
    "error", [WorkersUnavailable("away"), HistoryUnavailable("away"), TimeoutError()]
)
def test_what_cannot_be_answered_now_is_to_be_asked_again(
    question: Question, error: Exception
) -> None:
    assert answer(question, raising(error)).code == Code.TRY_LATER.number


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: type(question).__name__)
def test_a_fault_of_ours_is_answered_and_logged_in_one_line(
    question: Question, caplog: pytest.LogCaptureFixture
) -> None:
    assert answer(question, raising(KeyError("nonsense"))).code == Code.TRY_LATER.number
    (record,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert "KeyError('nonsense')" in record.getMessage()
    assert "\n" not in record.getMessage()


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: type(question).__name__)
def test_an_answer_that_does_not_come_is_given_up(question: Question) -> None:
    async def never() -> None:
        await asyncio.get_running_loop().create_future()

    assert answer(question, never).code == Code.TRY_LATER.number


def test_a_range_that_is_gone_is_not_to_be_asked_for_again() -> None:
    error = answer(History(7, "alice:bob"), raising(RangeGone("alice:bob after 0")))
    assert (error.code, error.retry) == (Code.RANGE_GONE.number, False)


@pytest.mark.parametrize("question", [Watch(7, []), Block(7, "mallory")])
def test_few_questions_of_one_user_are_before_those_of_others(question: Question) -> None:
    """Nor do changes of what a user has decided, which wait for the worker that folds them."""
    begun: list[str] = []

    async def slow(*asked: Any) -> None:
        begun.append(asked[0].user)  # a connection, or a change
        await asyncio.sleep(1)
        raise HistoryUnavailable("away")

    async def scenario() -> None:
        parts: Any = Failing(lambda: asyncio.sleep(0))
        parts.watch = parts.change = slow
        answerer = QuestionAnswerer(parts, parts, parts, parts, parts, 20.0)
        sockets = [Socket("eve", f"d{number}") for number in range(50)]
        flood = [asyncio.create_task(answerer.answer(one, question)) for one in sockets * OF_A_USER]
        await asyncio.sleep(0.5)
        assert begun == ["eve"] * OF_A_USER
        asking = asyncio.create_task(answerer.answer(Socket("alice", "phone"), question))
        await asyncio.sleep(0.1)
        assert begun[OF_A_USER:] == ["alice"]
        for task in flood[:100]:
            task.cancel()
        await asyncio.gather(asking, *flood, return_exceptions=True)
        assert answerer._places == {}

    run(scenario())
