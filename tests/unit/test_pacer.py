"""A pacer begins a few at a time, in order, and does not wait for those that have left."""

import asyncio
import time

import pytest
import uvloop

from gateway.edge.pacer import LATE_SECONDS, Pace, Pacer, always
from simulation.loop import VirtualLoop
from simulation.process import Process

SOON = 0.02


def be_late() -> None:
    """Keep the loop from what is due."""
    time.sleep(3 * SOON)


def pace(pacer: Pacer, count: int, begun: list[int]) -> None:
    """Let `count` ask for their pacer."""
    for number in range(count):
        pacer.put(number, lambda number=number: begun.append(number))  # type: ignore[misc]


def test_a_few_begin_at_once_and_the_others_in_order_a_few_at_a_time() -> None:
    loop, pacer, begun = VirtualLoop(), Pacer(always(3), SOON), list[int]()
    loop.do(pace, pacer, 8, begun)
    assert (begun, len(pacer)) == ([0, 1, 2], 5)
    pacer.leave(4)
    sizes = {3}
    while len(begun) < 7:
        loop.advance(SOON / 10)
        sizes.add(len(begun))
    assert (begun, sizes) == ([0, 1, 2, 3, 5, 6, 7], {3, 6, 7})


def test_after_a_rest_it_is_anybodys_turn_at_once() -> None:
    loop, pacer, begun = VirtualLoop(), Pacer(always(2), SOON), list[int]()
    for round_ in range(3):
        loop.do(pace, pacer, 2, begun)
        assert len(begun) == 2 * round_ + 2
        loop.advance(SOON * 2)


def test_a_pace_below_one_lets_some_turns_pass() -> None:
    loop, pacer, begun = VirtualLoop(), Pacer(Pace(1, 0.25, 0.25), SOON), list[int]()
    loop.do(pace, pacer, 4, begun)
    assert begun == [0], "after a rest"
    sizes = []
    for _ in range(12):
        loop.advance(SOON)
        sizes.append(len(begun))
    assert sizes[-1] == 4
    assert sizes[3] == 2
    assert sizes[7] == 3


def test_what_has_cost_more_than_a_piece_lets_turns_pass() -> None:
    def costly(number: int) -> None:
        begun.append(number)
        pacer.spend(3)

    loop, pacer, begun = VirtualLoop(), Pacer(always(2), SOON), list[int]()
    for number in range(3):
        loop.do(pacer.put, number, lambda number=number: costly(number))
    sizes = []
    for _ in range(6):
        sizes.append(len(begun))
        loop.advance(SOON)
    assert sizes == [1, 1, 2, 2, 3, 3], "each is as much as two turns"


async def test_who_is_cancelled_while_it_waits_is_not_waited_for() -> None:
    pacer = Pacer(always(1), SOON)
    await pacer.wait()
    waiting = [asyncio.create_task(pacer.wait()) for _ in range(3)]
    await asyncio.sleep(0)
    assert len(pacer) == 3
    waiting[0].cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting[0]
    assert len(pacer) == 2
    await asyncio.gather(*waiting[1:])
    assert len(pacer) == 0


async def test_who_is_cancelled_when_its_turn_comes_stops_nobody() -> None:
    """It leaves a loop turn after its cancellation, and the others' turn comes in between."""
    pacer = Pacer(always(1), SOON)
    await pacer.wait()
    waiting = [asyncio.create_task(pacer.wait()) for _ in range(2)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    pacer._again()
    async with asyncio.timeout(1):
        await waiting[1]
    with pytest.raises(asyncio.CancelledError):
        await waiting[0]


def test_the_pace_grows_slowly_while_turns_come_in_time_and_falls_quickly_when_they_do_not() -> (
    None
):
    limits, pace = Pace(8, 2, 32), 8.0
    turns = 0
    while pace < 16:
        pace, turns = limits.after(pace, LATE_SECONDS), turns + 1
    assert 10 <= turns <= 20
    for _ in range(100):
        pace = limits.after(pace, 0)
    assert pace == limits.most
    late = limits.after(pace, 2 * LATE_SECONDS)
    assert late <= 0.8 * pace
    for _ in range(100):
        late = limits.after(late, 1)
    assert late == limits.least
    assert always(3).after(3, 1) == always(3).after(3, 0) == 3


def test_one_begins_fewer_while_the_loop_is_late_and_as_many_as_it_can_when_it_is_not() -> None:
    loop, begun = VirtualLoop(), list[int]()
    pacer = Pacer(Pace(8, 1, 12), SOON)
    process = Process("the node", loop)

    def rounds(count: int, late: bool) -> list[int]:
        """How many begin at a time. Late: the loop stands still when the timer is due."""
        sizes: list[int] = []
        loop.do(process.call, pace, pacer, count, begun)
        while len(pacer):
            before = len(begun)
            if late:
                process.pause()
                loop.advance(3 * SOON)
                loop.do(process.wake)
            while len(begun) == before:
                loop.advance(SOON / 20)
            sizes.append(len(begun) - before)
        loop.advance(SOON * 100)
        return sizes

    assert rounds(30, late=True) == [6, 5, 4, 3, 2, 2]
    assert rounds(100, late=False) == [8, 8, 9, 9, 10, 10, 11, 11, 12, 4]
    assert rounds(10, late=False) == [2], "after a rest it begins as at first"


def test_on_the_gateways_loop_everybody_has_a_turn_however_late_it_is() -> None:
    async def come() -> list[int]:
        pacer, begun = Pacer(Pace(5, 1, 5)), list[int]()
        for number in range(100):
            pacer.put(number, lambda number=number: begun.append(number))  # type: ignore[misc]
            await asyncio.sleep(0)
        async with asyncio.timeout(10):
            while len(begun) < 100:
                if len(begun) < 30:
                    be_late()
                await asyncio.sleep(0.001)
        return begun

    assert uvloop.run(come()) == list(range(100))
