"""An event loop whose time passes only when nothing is left to do.

There is no clock, no socket and no thread: the same callbacks run in the same order every time.
"""

import asyncio
import contextlib
import heapq
import itertools
import random
import sys
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from contextvars import Context
from typing import Any, TypeVar

from simulation.process import Process, current_process, process_of

Value = TypeVar("Value")

_OLD_TIMERS = 1000
MAX_BUSY_STEPS = 1_000_000
"""Callbacks without time passing; more are taken for a loop that never waits."""


_Loop: Any = asyncio.AbstractEventLoop
"""Any: of its many methods those that need sockets or threads are not here."""


class VirtualLoop(_Loop):  # type: ignore[misc]
    """Runs what is ready; then its time jumps to the next timer.

    `chance` gives work in executors its duration. `faults` collects the errors of tasks and
    callbacks that nobody awaits.
    """

    def __init__(self, chance: random.Random | None = None) -> None:
        self.faults: list[dict[str, Any]] = []
        self.steps = 0
        """Callbacks run so far."""
        self.processes: list[Process] = []
        """Those that are alive."""
        self.tell: Callable[[str], None] = lambda line: None
        """Gets a line when a process starts, is killed, pauses or wakes; a trace sets it."""
        self._chance = chance
        self._now = 0.0
        self._ready: deque[asyncio.Handle] = deque()
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._cancelled = 0
        self._numbers = itertools.count()
        self._spent = 0.0
        self._stopping = False
        self._closed = False

    # What a test or the simulation does

    def run(self, coroutine: Coroutine[Any, Any, Value]) -> Value:
        """Run a coroutine to its end, with everything else that happens meanwhile."""
        outcome: Value = self.run_until_complete(coroutine)
        return outcome

    def run_until_complete(self, future: Any) -> Any:
        task = asyncio.ensure_future(future, loop=self)
        task.add_done_callback(self._stop)
        self._run(None)
        if not task.done():
            raise RuntimeError("nothing is left to do, and the coroutine still waits")
        return task.result()

    def do(self, function: Callable[..., Value], *args: Any) -> Value:
        """Call a function between two callbacks, as if it were one."""
        with self._as_running():
            return function(*args)

    @contextlib.contextmanager
    def _as_running(self) -> Iterator[None]:
        running, hooks = asyncio._get_running_loop(), sys.get_asyncgen_hooks()
        asyncio._set_running_loop(self)
        sys.set_asyncgen_hooks(firstiter=None, finalizer=self._finalize)
        try:
            yield
        finally:
            sys.set_asyncgen_hooks(*hooks)
            asyncio._set_running_loop(running)

    def _finalize(self, generator: AsyncGenerator[Any, Any]) -> None:
        """Nobody reads an asynchronous generator any more: close it, if its process lives."""
        process = current_process()
        if not self._closed and (process is None or process.alive):
            self.call_soon(self.create_task, generator.aclose())

    def advance(self, seconds: float) -> None:
        """Let time pass, and what becomes due meanwhile happen, in order."""
        self._run(self._now + seconds)

    def requeue(self, handles: list[asyncio.Handle]) -> None:
        """Run callbacks that had been put aside, after those that are ready."""
        self._ready.extend(handles)

    def spend(self, seconds: float) -> None:
        """Blocking work in an executor took so long: its result comes that much later."""
        self._spent += seconds

    def _stop(self, _: Any) -> None:
        self._stopping = True

    def _run(self, until: float | None) -> None:
        """Until `_stop`, until time is `until`, or until nothing is left to do."""
        self._stopping = False
        with self._as_running():
            while not self._stopping:
                self._run_ready()
                if self._stopping or not self._jump(until):
                    break

    def _run_ready(self) -> None:
        ready = self._ready
        steps = 0
        while ready and not self._stopping:
            handle = ready.popleft()
            if handle._cancelled:
                continue
            process = process_of(handle._context)  # type: ignore[attr-defined]
            if process is not None:
                if not process.alive:
                    continue
                if process.paused:
                    process.park(handle)
                    continue
            steps += 1
            if steps > MAX_BUSY_STEPS:
                raise RuntimeError(f"the loop never waits; it runs {handle!r} again and again")
            handle._run()
        self.steps += steps

    def _jump(self, until: float | None) -> bool:
        """Let time pass until the next timer and make it ready; False if there is none to come."""
        timers = self._timers
        while timers and timers[0][2]._cancelled:
            heapq.heappop(timers)
            self._cancelled -= 1
        if not timers or (until is not None and timers[0][0] > until):
            if until is not None:
                self._now = until
            return False
        self._now = max(self._now, timers[0][0])
        while timers and timers[0][0] <= self._now:
            self._ready.append(heapq.heappop(timers)[2])
        return True

    # What asyncio asks of a loop

    def time(self) -> float:
        return self._now

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return self._closed

    def close(self) -> None:
        """Kill all processes, and forget what was to be done."""
        for process in self.processes[::-1]:
            self.do(process.kill)
        self._closed = True
        self._ready.clear()
        self._timers.clear()

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if "destroyed" not in context["message"]:  # tasks of a process that was killed
            self.faults.append(context)

    def call_soon(
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    call_soon_threadsafe = call_soon

    def call_later(
        self,
        delay: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._timers, (when, next(self._numbers), timer))
        timer._scheduled = True  # type: ignore[attr-defined]
        return timer

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        self._cancelled += 1
        if self._cancelled > _OLD_TIMERS and 2 * self._cancelled > len(self._timers):
            self._timers = [entry for entry in self._timers if not entry[2]._cancelled]
            heapq.heapify(self._timers)
            self._cancelled = 0

    def create_future(self) -> "asyncio.Future[Any]":
        return asyncio.Future(loop=self)

    def create_task(
        self,
        coro: Coroutine[Any, Any, Any],
        *,
        name: str | None = None,
        context: Context | None = None,
    ) -> "asyncio.Task[Any]":
        task = asyncio.Task(coro, loop=self, name=name, context=context)
        process = current_process() if context is None else process_of(context)
        if process is not None and process.alive:
            process.own(task)
        elif process is not None:
            coro.close()  # it never runs
        return task

    def run_in_executor(
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> "asyncio.Future[Any]":
        """Without a random source at once; else after a while, with a result after a while."""
        done = self.create_future()
        if self._chance is None:
            self._execute(done, func, args)
        else:
            self.call_later(self._duration(), self._execute, done, func, args)
        return done

    def _execute(self, done: "asyncio.Future[Any]", func: Callable[..., Any], args: Any) -> None:
        if done.cancelled():
            return
        self._spent = 0.0
        try:
            outcome, error = func(*args), None
        except Exception as raised:
            outcome, error = None, raised
        if self._chance is None and not self._spent:
            _settle(done, outcome, error)
        else:
            self.call_later(self._spent + self._duration(), _settle, done, outcome, error)

    def _duration(self) -> float:
        return 0.0 if self._chance is None else 0.001 * self._chance.random()

    def add_signal_handler(self, sig: int, callback: Callable[..., object], *args: Any) -> None: ...

    def remove_signal_handler(self, sig: int) -> bool:
        return False

    def set_debug(self, enabled: bool) -> None: ...

    def set_default_executor(self, executor: Any) -> None: ...

    async def shutdown_asyncgens(self) -> None: ...

    async def shutdown_default_executor(self, timeout: float | None = None) -> None: ...


def _settle(done: "asyncio.Future[Any]", outcome: Any, error: Exception | None) -> None:
    if done.done():
        return
    if error is None:
        done.set_result(outcome)
    elif isinstance(error, StopIteration):
        done.set_exception(RuntimeError("StopIteration in an executor"))
    else:
        done.set_exception(error)
