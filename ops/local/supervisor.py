"""Starts the parts of a local stack; restarts parts that end; stops gateways, then workers, then
services."""

import asyncio
import contextlib
import os
import re
import signal
import time
from collections.abc import Callable
from typing import Any

from ops.local import deaths
from ops.local.health import problem_of
from ops.local.parts import Kind, Layout, Part
from ops.local.preconditions import CannotStart, check_port, end_leftovers, refuse_if_running
from ops.local.process import die_with_parent, start_time

_BACKOFF = (0.2, 0.5, 1.0, 2.0, 5.0)
_STEADY_SECONDS = 10.0
_START_SECONDS = 120.0
"""A part that ends is noticed at once, so this is for slow machines: on two busy cores, three
brokers and all topics took 55 s."""
_POLL_SECONDS = 0.1
_LOOK_SECONDS = 5.0
_TAIL_BYTES = 10_000
_SECRET = re.compile(
    r"MESSENGER_\w*(SECRET|TOKEN|PASSWORD)|MESSENGER_(CLICKHOUSE(_ADMIN|_ANALYST)?|KAFKA|REDIS)"
)
"""Variables that hold a secret. (An address may have a password in it.)"""


class _Running:
    """A part and its present process."""

    def __init__(self, part: Part) -> None:
        self.part = part
        self.process: asyncio.subprocess.Process | None = None
        self.started: int | None = None
        self.since = 0.0
        self.restarts = 0
        self.state = "starting"


class Supervisor:
    """`say` shows one line to the person in front of it."""

    def __init__(self, layout: Layout, say: Callable[[str], None]) -> None:
        self._layout = layout
        self._home = layout.home
        self._say = say
        self._stop = asyncio.Event()
        self._parts: list[_Running] = []
        self._watchers: list[asyncio.Task[None]] = []

    async def run(self, on_ready: Callable[[], None]) -> None:
        """Start everything, call `on_ready`, keep it running until SIGTERM or SIGINT, stop it.
        Raises CannotStart."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._stop.set)
        refuse_if_running(self._home)
        end_leftovers(self._home)
        self._parts = [_Running(part) for part in self._layout.parts()]
        for running in self._parts:
            check_port(running.part)
        self._write_state()
        try:
            if await self._start_all():
                on_ready()
                await asyncio.to_thread(deaths.prepare)
                await self._until_stopped()
        finally:
            await self._stop_all()

    async def _until_stopped(self) -> None:
        """Raises what a watcher raises: a part that nobody watches would stay away unnoticed."""
        stop = asyncio.create_task(self._stop.wait())
        try:
            ended, _ = await asyncio.wait(
                [stop, *self._watchers], return_when=asyncio.FIRST_COMPLETED
            )
            for task in ended:
                task.result()
        finally:
            stop.cancel()

    async def _start_all(self) -> bool:
        """Start all parts and wait until they are healthy; False if asked to stop meanwhile. Ours
        begin together with the services, and wait for Kafka themselves."""
        starting = [asyncio.create_task(self._start(running)) for running in self._parts]
        try:
            return all(await asyncio.gather(*starting))
        finally:  # the others do not go on when one cannot start
            for task in starting:
                task.cancel()
            await asyncio.gather(*starting, return_exceptions=True)

    def _of(self, kind: Kind) -> list[_Running]:
        return [running for running in self._parts if running.part.kind is kind]

    def _state(self, name: str) -> str:
        return next(running.state for running in self._parts if running.part.name == name)

    async def _start(self, running: _Running) -> bool:
        """Start a part and wait until it is healthy; False if asked to stop meanwhile."""
        part = running.part
        while any(self._state(name) == "starting" for name in part.follows):
            if self._stop.is_set():
                return False
            await asyncio.sleep(_POLL_SECONDS)
        await self._prepare(part)
        await self._spawn(running)
        until = time.monotonic() + _START_SECONDS
        while (problem := await problem_of(part.check)) is not None:
            if self._stop.is_set():
                return False
            if running.process is None or running.process.returncode is not None:
                raise CannotStart(f"{part.name} ended while starting: {self._last_line(part)}")
            if time.monotonic() > until:
                raise CannotStart(
                    f"{part.name} is not ready after {_START_SECONDS:.0f} s: {problem}; "
                    f"its log: {self._home.log_of(part.name)}"
                )
            await asyncio.sleep(_POLL_SECONDS)
        for command in part.after:
            await self._run_once(part, command)
        running.state = "running"
        self._watchers.append(asyncio.create_task(self._watch(running)))
        self._write_state()
        return True

    async def _prepare(self, part: Part) -> None:
        for command in part.before:
            await self._run_once(part, command)

    async def _spawn(self, running: _Running) -> None:
        part = running.part
        with self._home.log_of(part.name).open("ab") as log:
            running.process = await asyncio.create_subprocess_exec(
                *part.argv,
                env=_environment(part),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C reaches the supervisor only, which stops in order
                preexec_fn=die_with_parent,
            )
        running.started = start_time(running.process.pid)
        running.since = time.monotonic()
        self._write_state()

    async def _run_once(self, part: Part, command: list[str]) -> None:
        with self._home.log_of(part.name).open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *command,
                env=_environment(part),
                stdout=log,
                stderr=log,
                preexec_fn=die_with_parent,
            )
        try:
            code = await process.wait()
        except asyncio.CancelledError:
            process.kill()
            await process.wait()
            raise
        if code != 0:
            raise CannotStart(f"preparing {part.name} failed: {self._last_line(part)}")

    def _last_line(self, part: Part) -> str:
        """What a part wrote last, and where the rest is."""
        log = self._home.log_of(part.name)
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _TAIL_BYTES))
            lines = file.read().decode(errors="replace").split("\n")
        said = [line.strip() for line in lines if line.strip()]
        return f"{said[-1] if said else 'it says nothing'} (its log: {log})"

    async def _watch(self, running: _Running) -> None:
        """Restart a part whenever it ends."""
        attempt = 0
        while True:
            code = await self._ended(running)
            if time.monotonic() - running.since > _STEADY_SECONDS:
                attempt = 0
            delay = _BACKOFF[min(attempt, len(_BACKOFF) - 1)]
            attempt += 1
            running.state, running.restarts = "restarting", running.restarts + 1
            self._write_state()
            how = f"signal {-code}" if code < 0 else f"code {code}"
            log = self._home.log_of(running.part.name)
            self._say(f"{running.part.name} ended ({how}) and is started again; its log: {log}")
            rest = await running.part.died() if running.part.died is not None else 0.0
            await asyncio.sleep(max(delay, rest))
            try:
                await self._prepare(running.part)
                await self._spawn(running)
            except (CannotStart, OSError) as error:
                self._say(f"{running.part.name} does not start: {error}")
                continue
            running.state = "running"
            self._write_state()

    async def _ended(self, running: _Running) -> int:
        """Wait until a part ends, or kill it when it hangs; its exit code."""
        process, hung = running.process, running.part.hung
        assert process is not None
        if hung is None:
            return await process.wait()
        answered = time.monotonic()
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_SECONDS):
                    return await process.wait()
            if await problem_of(running.part.check) is None:
                answered = time.monotonic()
            elif time.monotonic() - answered > hung:
                self._say(f"{running.part.name} has not answered for {hung:.0f} s and is killed")
                process.kill()

    async def _stop_all(self) -> None:
        """Gateways, then workers and archivers, then the services; each kind at once."""
        for watcher in self._watchers:
            watcher.cancel()
        await asyncio.gather(*self._watchers, return_exceptions=True)
        for kind in (Kind.GATEWAY, Kind.STAGE, Kind.SERVICE):
            await asyncio.gather(*map(self._end, self._of(kind)))
        self._home.write_state({})

    async def _end(self, running: _Running) -> None:
        process = running.process
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            async with asyncio.timeout(running.part.grace):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()

    def _write_state(self) -> None:
        parts: dict[str, Any] = {
            running.part.name: {
                "pid": running.process.pid if running.process else None,
                "started": running.started,
                "state": running.state,
                "port": running.part.port,
                "check": list(running.part.check),
                "restarts": running.restarts,
                "log": str(self._home.log_of(running.part.name)),
                "address": running.part.address,
            }
            for running in self._parts
        }
        pid = os.getpid()
        self._home.write_state(
            {
                "pid": pid,
                "started": start_time(pid),
                "base_port": self._layout.base_port,
                "parts": parts,
            }
        )


def _environment(part: Part) -> dict[str, str]:
    """What a part's processes see: secrets only that are its own, whatever the supervisor sees."""
    shared = {name: value for name, value in os.environ.items() if not _SECRET.fullmatch(name)}
    return {**shared, **part.environment}
