"""The loop of the simulation: time jumps, processes end and stand still, and all is repeatable."""

import asyncio
import gc
import random
from typing import Any

import pytest

from simulation.loop import VirtualLoop
from simulation.process import Process, current_process


def test_time_passes_only_while_nothing_is_to_be_done() -> None:
    loop = VirtualLoop()

    async def wait() -> list[float]:
        times = [loop.time()]
        await asyncio.sleep(3600)
        times.append(loop.time())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await asyncio.Event().wait()
        return [*times, loop.time()]

    assert loop.run(wait()) == [0, 3600, 3605]


def test_locks_queues_events_and_threads_are_asyncio_s_own() -> None:
    loop = VirtualLoop(random.Random(1))

    async def work() -> list[Any]:
        queue: asyncio.Queue[int] = asyncio.Queue(1)
        lock, event = asyncio.Lock(), asyncio.Event()

        async def fill() -> None:
            for number in range(3):
                async with lock:
                    await queue.put(number)
            loop.call_soon_threadsafe(event.set)

        filling = asyncio.create_task(fill())
        got = [await queue.get() for _ in range(3)]
        await event.wait()
        await filling
        await asyncio.to_thread(loop.spend, 2.0)
        return [*got, loop.time() > 2]

    assert loop.run(work()) == [0, 1, 2, True]


def test_an_executor_s_error_comes_to_who_waits() -> None:
    loop = VirtualLoop()

    def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        loop.run(asyncio.to_thread(fail))


async def _count(seen: list[float], loop: VirtualLoop) -> None:
    try:
        while True:
            await asyncio.sleep(1)
            seen.append(loop.time())
    finally:
        seen.append(-1)
        asyncio.get_running_loop().call_soon(seen.append, -2)


def test_a_process_that_is_paused_does_nothing_and_goes_on_when_it_wakes() -> None:
    loop, seen = VirtualLoop(), list[float]()
    process = Process("one", loop)
    process.start(_count(seen, loop))
    loop.advance(2.5)
    process.pause()
    loop.advance(3)
    assert seen == [1, 2]
    process.wake()
    loop.advance(1.1)
    assert seen == [1, 2, 5.5, 6.5]
    loop.close()
    assert seen[4:] == [-1]


def test_nothing_of_a_process_that_was_killed_runs_again() -> None:
    loop, seen = VirtualLoop(), list[float]()
    process = Process("one", loop)

    async def start() -> None:
        assert current_process() is process
        asyncio.create_task(_count(seen, loop))

    process.start(start())
    loop.advance(1.5)
    loop.call_soon(process.kill)
    loop.advance(5)
    assert seen == [1, -1], "its `finally` ran, when it was killed, and reached nobody"
    assert not loop.faults


def test_a_process_that_has_ended_starts_nothing() -> None:
    """Python would complain of the coroutine in whatever test runs when it is collected."""
    loop = VirtualLoop()
    process = Process("one", loop)

    async def end() -> None:
        try:
            await asyncio.sleep(1)
        finally:
            asyncio.create_task(asyncio.sleep(1))

    process.start(end())
    loop.advance(0.5)
    loop.do(process.kill)
    with pytest.raises(RuntimeError, match="one has ended"):
        process.start(asyncio.sleep(1))
    gc.collect()


def test_an_error_that_nobody_waits_for_is_kept() -> None:
    loop = VirtualLoop()
    loop.call_soon(lambda: 1 / 0)
    loop.advance(1)
    assert [type(fault["exception"]) for fault in loop.faults] == [ZeroDivisionError]


def test_a_loop_that_never_waits_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simulation.loop.MAX_BUSY_STEPS", 1000)
    loop = VirtualLoop()

    async def spin() -> None:
        while True:
            await asyncio.sleep(0)

    with pytest.raises(RuntimeError, match="never waits"):
        loop.run(spin())


def test_many_cancelled_timers_are_dropped() -> None:
    loop = VirtualLoop()
    keep = loop.call_later(5, lambda: None)
    for _ in range(3000):
        loop.call_later(10, lambda: None).cancel()
    assert len(loop._timers) < 1500
    loop.advance(6)
    assert keep.when() == 5
