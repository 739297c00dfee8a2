"""Runs a test's coroutine on a loop whose time passes only when nothing else is left to do."""

from collections.abc import Coroutine
from typing import Any, TypeVar

from simulation.loop import VirtualLoop

Value = TypeVar("Value")


def run(coroutine: Coroutine[Any, Any, Value]) -> Value:
    """The result of the coroutine."""
    loop = VirtualLoop()
    try:
        return loop.run(coroutine)
    finally:
        loop.close()
