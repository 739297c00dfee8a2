"""Runs a test's coroutine on a loop whose time passes only when nothing else is left to do."""

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

from simulation.loop import VirtualLoop
from simulation.process import Process

TEST_SECONDS = 1000.0
"""Of virtual time. A test that waits for what never comes would else run for ever."""

Value = TypeVar("Value")
Parameters = ParamSpec("Parameters")


def run(coroutine: Coroutine[Any, Any, Value]) -> Value:
    """The result of the coroutine. What it has started ends with it."""
    loop = VirtualLoop()
    try:
        outcome: Value = loop.run_until_complete(Process("the test", loop).start(coroutine))
        return outcome
    finally:
        loop.close()


def virtual_time(
    test: Callable[Parameters, Coroutine[Any, Any, None]],
) -> Callable[Parameters, None]:
    """A test that runs so, for TEST_SECONDS at most."""

    async def limited(*arguments: Parameters.args, **named: Parameters.kwargs) -> None:
        async with asyncio.timeout(TEST_SECONDS):
            await test(*arguments, **named)

    @functools.wraps(test)
    def wrapped(*arguments: Parameters.args, **named: Parameters.kwargs) -> None:
        run(limited(*arguments, **named))

    return wrapped
