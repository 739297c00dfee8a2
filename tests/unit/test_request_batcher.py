"""Questions that go together: bounded, each with its own answer, and nobody left waiting."""

import asyncio
from collections.abc import Sequence

import pytest

from connectors.request_batcher import RequestBatcher


class Asked:
    """Answers n with 2 n, when it may."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.under_way = self.most_under_way = 0
        self.may = asyncio.Event()
        self.error: Exception | None = None

    async def __call__(self, questions: Sequence[int]) -> list[int]:
        self.groups.append(list(questions))
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        await self.may.wait()
        self.under_way -= 1
        if self.error is not None:
            raise self.error
        return [2 * question for question in questions]


async def test_what_comes_while_others_are_asked_goes_together() -> None:
    asked = Asked()
    together = RequestBatcher(asked, at_once=2, most=4)
    answers = [asyncio.create_task(together(n)) for n in range(12)]
    await asyncio.sleep(0.01)
    assert asked.groups == [[0, 1, 2, 3], [4, 5, 6, 7]], "two groups at once, four in each"
    asked.may.set()
    assert await asyncio.gather(*answers) == [2 * n for n in range(12)]
    assert asked.groups[2:] == [[8, 9, 10, 11]]
    assert asked.most_under_way == 2


async def test_who_asks_when_the_last_has_just_been_answered_is_asked_for() -> None:
    asked = Asked()
    asked.may.set()
    together = RequestBatcher(asked, at_once=1, most=4)
    async with asyncio.timeout(5):
        for n in range(200):
            assert await together(n) == 2 * n


async def test_who_has_waited_for_long_goes_although_others_are_under_way() -> None:
    asked = Asked()
    together = RequestBatcher(asked, at_once=1, most=4, patience=0.02)
    answers = [asyncio.create_task(together(n)) for n in range(3)]
    await asyncio.sleep(0)
    answers += [asyncio.create_task(together(n)) for n in (3, 4)]
    await asyncio.sleep(0.01)
    assert asked.groups == [[0, 1, 2]]
    await asyncio.sleep(0.03)
    assert asked.groups == [[0, 1, 2], [3, 4]]
    asked.may.set()
    assert await asyncio.gather(*answers) == [2 * n for n in range(5)]
    answers = [asyncio.create_task(together(n)) for n in range(2)]
    await asyncio.gather(*answers)
    assert asked.most_under_way == 2
    assert asked.groups[2:] == [[0, 1]], "one at once again"


async def test_an_error_is_everybodys_and_passes() -> None:
    asked = Asked()
    asked.error = ValueError("no")
    asked.may.set()
    together = RequestBatcher(asked, at_once=1, most=4)
    assert all(
        isinstance(e, ValueError)
        for e in await asyncio.gather(*map(together, range(9)), return_exceptions=True)
    )
    asked.error = None
    assert await together(1) == 2


async def test_nobodys_question_is_not_asked() -> None:
    asked = Asked()
    together = RequestBatcher(asked, at_once=1, most=4)
    first = asyncio.create_task(together(1))
    await asyncio.sleep(0)
    left, stays = asyncio.create_task(together(2)), asyncio.create_task(together(3))
    await asyncio.sleep(0)
    left.cancel()
    await asyncio.sleep(0)
    asked.may.set()
    assert (await first, await stays) == (2, 6)
    assert asked.groups == [[1], [3]]


async def test_closing_lets_everybody_go() -> None:
    together = RequestBatcher(Asked(), at_once=1, most=2)
    waiting = [asyncio.create_task(together(n)) for n in range(5)]
    await asyncio.sleep(0)
    await together.close()
    for one in waiting:
        with pytest.raises(asyncio.CancelledError):
            await one
