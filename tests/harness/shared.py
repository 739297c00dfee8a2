"""A stack that many tests use, one after the other: to start one takes longer than most tests."""

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from typing import Any

from tests.harness.stack import Stack

Parts = dict[str, Any]
"""What a stack consists of: arguments of `Stack`."""


class Shared:
    """One stack at a time, made by `start`."""

    def __init__(self, start: Callable[[Parts], AbstractContextManager[Stack]]) -> None:
        self._start = start
        self._running = ExitStack()
        self._stack: Stack | None = None
        self._kind: tuple[Parts, int] | None = None

    def take(self, parts: Parts, failures: int) -> Stack:
        """The running one if it consists of `parts` and no test has failed since, or a fresh
        one."""
        if self._stack is None or self._kind != (parts, failures):
            self.end()
            self._stack = self._running.enter_context(self._start(parts))
            self._kind = parts, failures
        return self._stack

    def end(self) -> None:
        self._stack = None
        self._running.close()
