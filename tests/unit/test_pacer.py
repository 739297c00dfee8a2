"""Turns: a few at a time, in order, and whoever leaves is not waited for."""

import asyncio
import time

import pytest
import uvloop

from gateway.edge.pacer import Pacer

SOON = 0.02


def be_late() -> None:
    """Keep the loop from what is due."""
    time.sleep(3 * SOON)


async def test_a_few_begin_at_once_and_the_others_in_order_a_few_at_a_time() -> None:
    turns, begun = Pacer(3, SOON), list[int]()
    for number in range(8):
        turns.put(number, lambda number=number: begun.append(number))  # type: ignore[misc]
    assert (begun, len(turns)) == ([0, 1, 2], 5)
    turns.leave(4)
    sizes = {3}
    while len(begun) < 7:
        await asyncio.sleep(SOON / 10)
        sizes.add(len(begun))
    assert (begun, sizes) == ([0, 1, 2, 3, 5, 6, 7], {3, 6, 7})


async def test_after_a_rest_it_is_anybodys_turn_at_once() -> None:
    turns, begun = Pacer(2, SOON), list[int]()
    for round_ in range(3):
        for number in range(2):
            turns.put(number, lambda number=number: begun.append(number))  # type: ignore[misc]
        assert len(begun) == 2 * round_ + 2
        await asyncio.sleep(SOON * 2)


async def test_who_is_cancelled_while_it_waits_is_not_waited_for() -> None:
    turns = Pacer(1, SOON)
    await turns.take()
    waiting = [asyncio.create_task(turns.take()) for _ in range(3)]
    await asyncio.sleep(0)
    assert len(turns) == 3
    waiting[0].cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting[0]
    assert len(turns) == 2
    await asyncio.gather(*waiting[1:])
    assert len(turns) == 0


async def test_who_is_cancelled_when_its_turn_comes_stops_nobody() -> None:
    """It leaves a loop turn after its cancellation, and the others' turn comes in between."""
    turns = Pacer(1, SOON)
    await turns.take()
    waiting = [asyncio.create_task(turns.take()) for _ in range(2)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    turns._again()
    async with asyncio.timeout(1):
        await waiting[1]
    with pytest.raises(asyncio.CancelledError):
        await waiting[0]


@pytest.mark.parametrize("gives_way", [True, False])
async def test_one_that_gives_way_begins_fewer_while_the_loop_is_late_and_more_again_when_it_is_not(
    gives_way: bool,
) -> None:
    turns, sizes = Pacer(8, SOON, gives_way), list[int]()
    begun: list[int] = []

    async def rounds(count: int, late: bool) -> None:
        """Each time the timer is due, somebody keeps the loop from it, or not."""
        sizes.clear()
        for number in range(8 * count):
            turns.put(number, lambda number=number: begun.append(number))  # type: ignore[misc]
        while len(turns):
            before = len(begun)
            if late:
                be_late()
            while len(begun) == before:
                await asyncio.sleep(SOON / 20)
            sizes.append(len(begun) - before)

    await rounds(4, late=True)
    assert sizes == ([4, 2, *[1] * 18] if gives_way else [8, 8, 8])
    turns._pace = 7.9
    await rounds(4, late=False)
    assert max(sizes) == 8


def test_on_the_gateways_loop_everybody_has_a_turn_however_late_it_is() -> None:
    async def come() -> list[int]:
        turns, begun = Pacer(5, gives_way=True), list[int]()
        for number in range(100):
            turns.put(number, lambda number=number: begun.append(number))  # type: ignore[misc]
            await asyncio.sleep(0)
        async with asyncio.timeout(10):
            while len(begun) < 100:
                if len(begun) < 30:
                    be_late()
                await asyncio.sleep(0.001)
        return begun

    assert uvloop.run(come()) == list(range(100))
