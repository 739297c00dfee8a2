"""The processes that live on a virtual loop."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from simulation.loop import VirtualLoop

Value = TypeVar("Value")

_DROPS = 20
_OLD_TASKS = 100


class Process:
    """The tasks and callbacks that end, or stand still, together.

    Whatever a callback of the process starts belongs to the process, too.
    """

    def __init__(self, name: str, loop: "VirtualLoop") -> None:
        self.name = name
        self.alive = True
        self.paused = False
        self._loop = loop
        self._parked: list[asyncio.Handle] = []
        self._tasks: list[asyncio.Task[Any]] = []
        self._old_tasks = _OLD_TASKS
        self.on_end: dict[Callable[[], None], None] = {}
        """Called when it is killed; ordered."""
        self.on_pause: dict[Callable[[], None], None] = {}
        self.context = copy_context()
        self.context.run(_process.set, self)
        loop.processes.append(self)
        loop.tell(f"{name} starts")

    def start(self, coroutine: Coroutine[Any, Any, Value]) -> "asyncio.Task[Value]":
        """Run a coroutine as a task of this process. Raises RuntimeError if it has ended."""
        if not self.alive:
            coroutine.close()
            raise RuntimeError(f"{self.name} has ended")
        return self._loop.create_task(coroutine, context=self.context.copy())

    def call(self, function: Callable[..., Value], *args: Any) -> Value:
        """Call a function that creates tasks or timers for this process."""
        return self.context.run(function, *args)

    def pause(self) -> None:
        """Stand still, as after SIGSTOP: due callbacks wait until `wake`."""
        self.paused = True
        self._loop.tell(f"{self.name} is paused")
        for paused in list(self.on_pause):
            paused()

    def wake(self) -> None:
        """Go on: everything that became due meanwhile runs now, in order."""
        self.paused = False
        self._loop.tell(f"{self.name} wakes")
        parked, self._parked = self._parked, []
        self._loop.requeue(parked)

    def kill(self) -> None:
        """End at once, as after SIGKILL: no callback of the process runs again.

        Python runs `finally` clauses when it drops a coroutine. They run here, where the process
        can reach nothing any more, and not whenever the garbage collector comes by.
        """
        if not self.alive:
            return
        self.alive = False
        self._loop.tell(f"{self.name} is killed")
        self._parked.clear()
        self._loop.processes.remove(self)
        tasks, self._tasks = self._tasks, []
        silenced = logging.root.manager.disable
        logging.disable(logging.CRITICAL)
        try:
            for task in tasks:
                coroutine = task.get_coro()
                if not task.done() and coroutine is not None:
                    self._drop(coroutine)
        finally:
            logging.disable(silenced)
        for ended in list(self.on_end):
            ended()

    def _drop(self, coroutine: Any) -> None:
        for _ in range(_DROPS):
            try:
                self.context.copy().run(coroutine.close)
                return
            except ValueError:  # it runs now, and has called this
                return
            except RuntimeError:  # it awaits in `finally`: that ends, too
                pass

    def park(self, handle: asyncio.Handle) -> None:
        """Keep a callback of a paused process."""
        self._parked.append(handle)

    def own(self, task: "asyncio.Task[Any]") -> None:
        """Remember a task, to end it with the process."""
        self._tasks.append(task)
        if len(self._tasks) > self._old_tasks:
            self._tasks = [task for task in self._tasks if not task.done()]
            self._old_tasks = max(_OLD_TASKS, 2 * len(self._tasks))


_process: ContextVar[Process | None] = ContextVar("process", default=None)


def process_of(context: Context) -> Process | None:
    """The process to which what runs in this context belongs."""
    return context.get(_process)


def current_process() -> Process | None:
    """The process whose callback runs now; None outside all processes."""
    return _process.get()
