"""Runs a test's coroutine on a loop whose time passes only when nothing else is left to do."""

from collections.abc import Coroutine
from typing import Any, TypeVar

from tests.property.quiet_loop import QuietLoop

Value = TypeVar("Value")


def run(coroutine: Coroutine[Any, Any, Value]) -> Value:
    """The result of the coroutine."""
    loop = QuietLoop()  # type: ignore[abstract]
    loop.begin()
    try:
        task = loop.create_task(coroutine)
        while not task.done():
            loop.advance(1.0)
        result: Value = task.result()
    finally:
        loop.end()
    return result
