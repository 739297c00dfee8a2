"""How soon a stack answers a device after `kill -9` of everything, and what it does until then.

    python -m bench.cold_start [--runs 5] [--checkout DIR]

A device tries to connect all the time. It is answered when it has been told what it missed, and
when a message that it has sent has its number. Each run prints what happened when, in seconds from
the start of `messenger local up`; the last lines are the medians.
"""

import argparse
import asyncio
import contextlib
import datetime
import json
import os
import re
import signal
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp

from bench.generator import Generator
from bench.system import Checkout, System, began_at
from gateway.edge.tokens import issue
from ops.local.health import problem_of
from ops.local.home import Home
from ops.local.process import die_with_parent, is_running
from schemas.ids import user_id

_BASE_PORT = int(os.environ.get("MESSENGER_BENCH_PORT", "8700"))
_AGAIN_SECONDS = 0.05
_LIMIT_SECONDS = 60.0
_LOAD_SECONDS = 3.0
_RATE, _PAIRS = 200.0, 20

_LOGGED = (
    ("worker-1", "worker: first log line", ""),
    ("worker-1", "worker: first group joined", "Joined group"),
    ("worker-1", "worker: sequencer restored", "sequencer partition 0 is restored"),
    ("worker-1", "worker: memberships restored", "memberships partition 0 is restored"),
    ("worker-1", "worker: cursors restored", "cursors partition 0 is restored"),
    ("worker-1", "worker: presence restored", "presence partition 0 is restored"),
    ("worker-1", "worker: people restored", "people partition 0 is restored"),
    ("archiver-1", "archiver: messages restored", "partition 0 is restored"),
    ("gateway-1", "gateway: has its slot", "has gateway slot"),
)
"""Part, milestone, and what the first log line of it has."""
_STAMP = re.compile(r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}) (.*)$", re.MULTILINE)

Milestones = dict[str, float]


class _Clock:
    """Seconds since the stack was started."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self._wall = time.time() - self.started

    def now(self) -> float:
        return time.monotonic() - self.started

    def of_log(self, stamp: str) -> float:
        wall = datetime.datetime.strptime(stamp, "%Y-%m-%d %H:%M:%S,%f").timestamp()
        return wall - self._wall - self.started


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.cold_start", description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--checkout", type=Path, help="measure this built checkout")
    options = parser.parse_args()
    checkout = Checkout.at(options.checkout)
    with tempfile.TemporaryDirectory(prefix="messenger-cold-") as folder:
        system = System(Path(folder), _BASE_PORT)
        runs = [_run(checkout, system, number) for number in range(options.runs + 1)][1:]
    names = sorted(
        dict.fromkeys(name for run in runs for name in run),
        key=lambda name: statistics.median(run[name] for run in runs if name in run),
    )
    print(f"\n{checkout.commit}, {options.runs} runs: median (least to most), seconds")
    for name in names:
        values = [run[name] for run in runs if name in run]
        print(f"{statistics.median(values):6.2f} ({min(values):.2f} to {max(values):.2f})  {name}")


def _run(checkout: Checkout, system: System, number: int) -> Milestones:
    """Start the stack, let people talk, and kill everything. Run 0 is the first start."""
    marks = {part: _size(system, part) for part, _, _ in _LOGGED}
    clock = _Clock()
    with _started(checkout, system) as stack:
        found = _watch(system, clock, stack, number)
        found.update(_logged(system, clock, marks))
        generator = Generator(system.gateway, system.secret, _PAIRS, seed=number)
        generator.poisson(_RATE, _LOAD_SECONDS)
        verdict = generator.settle(10)
        generator.close()
        if any(verdict):
            raise RuntimeError(f"run {number} went wrong: {verdict}")
    print(f"\nrun {number}" + (", the first start" if not number else ""))
    for name, seconds in sorted(found.items(), key=lambda one: one[1]):
        print(f"{seconds:6.2f}  {name}", flush=True)
    return found


@contextlib.contextmanager
def _started(checkout: Checkout, system: System) -> Iterator["subprocess.Popen[bytes]"]:
    """A stack, all of whose processes get SIGKILL at the end."""
    command = [str(checkout.python), "-m", "ops", "local", "up"]
    command += ["--home", str(system.home), "--base-port", str(system.base_port)]
    with subprocess.Popen(
        command, cwd=checkout.folder, stdout=subprocess.PIPE, preexec_fn=die_with_parent
    ) as stack:
        try:
            yield stack
        finally:
            stack.kill()
            for part in Home(system.home).read_state().get("parts", {}).values():
                if is_running(part["pid"], part["started"]):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(part["pid"], signal.SIGKILL)
                while is_running(part["pid"], part["started"]):
                    time.sleep(0.01)


def _watch(
    system: System, clock: _Clock, stack: "subprocess.Popen[bytes]", number: int
) -> Milestones:
    found: Milestones = {}
    threads = [
        threading.Thread(target=work, args=(system, clock, stack, found), daemon=True)
        for work in (_watch_kafka, _watch_ready)
    ]
    for thread in threads:
        thread.start()
    asyncio.run(_device(system, clock, found, number))
    for thread in threads:
        thread.join(_LIMIT_SECONDS)
    for part, pid in system.pids.items():
        found[f"{part} begins"] = began_at(pid) - clock.started
    return found


def _watch_kafka(
    system: System, clock: _Clock, stack: "subprocess.Popen[bytes]", found: Milestones
) -> None:
    port = int(system.kafka.rpartition(":")[2])
    while clock.now() < _LIMIT_SECONDS and stack.poll() is None:
        if asyncio.run(problem_of(("kafka", port, ""))) is None:
            found["kafka listens"] = clock.now()
            return
        time.sleep(_AGAIN_SECONDS)


def _watch_ready(
    system: System, clock: _Clock, stack: "subprocess.Popen[bytes]", found: Milestones
) -> None:
    assert stack.stdout is not None
    if any(b"Ctrl-C" in line for line in stack.stdout):
        found["everything is healthy"] = clock.now()


def _size(system: System, part: str) -> int:
    log = Home(system.home).log_of(part)
    return log.stat().st_size if log.exists() else 0


def _logged(system: System, clock: _Clock, marks: Mapping[str, int]) -> Milestones:
    found: Milestones = {}
    for part, milestone, text in _LOGGED:
        written = Home(system.home).log_of(part).read_bytes()[marks[part] :].decode()
        for stamp, line in _STAMP.findall(written):
            if text in line:
                found[milestone] = clock.of_log(stamp)
                break
    return found


async def _device(system: System, clock: _Clock, found: Milestones, number: int) -> None:
    """A device of one user, who writes one message a run to another one."""
    async with aiohttp.ClientSession() as session:
        while "a message has its number" not in found:
            if clock.now() > _LIMIT_SECONDS:
                raise RuntimeError(f"no answer within {_LIMIT_SECONDS:.0f} s")
            try:
                async with asyncio.timeout(_LIMIT_SECONDS):
                    await _talk(session, system, clock, found, number)
            except (aiohttp.ClientError, OSError, asyncio.IncompleteReadError):
                await asyncio.sleep(_AGAIN_SECONDS)


async def _talk(
    session: aiohttp.ClientSession, system: System, clock: _Clock, found: Milestones, number: int
) -> None:
    host, port = system.gateway
    async with session.ws_connect(f"http://{host}:{port}/v1/socket") as socket:
        token = issue(user_id("cold"), system.secret, time.time())
        hello = {"t": "hello", "id": 1, "version": 1, "token": token, "device": "one"}
        await socket.send_json(hello)
        await _frame(socket, "welcome")
        found.setdefault("a device is welcome", clock.now())
        sync = {"t": "sync", "id": 2, "cursors": {"cold:start": number}}
        while True:
            await socket.send_json(sync)
            heads = await _frame(socket, "heads", "error")
            if heads["t"] == "heads" and not heads.get("pending"):
                break
            await asyncio.sleep(_AGAIN_SECONDS)
        found.setdefault("it knows what it missed", clock.now())
        send = {"t": "send", "to": "start", "outbox": "1" * 32, "ordinal": number + 1, "round": 1}
        send |= {"key": f"{number:032x}", "body": "Are you there?"}
        await socket.send_json(send)
        sent = await _frame(socket, "sent", "refused", "out_of_step")
        found["a message has its number"] = clock.now()
        if sent.get("seq") != number + 1:
            raise RuntimeError(f"message {number + 1} got {sent}")


async def _frame(socket: aiohttp.ClientWebSocketResponse, *kinds: str) -> dict[str, Any]:
    """The next frame of these kinds. Raises ClientError if the socket is closed."""
    while True:
        message = await socket.receive()
        if message.type is not aiohttp.WSMsgType.TEXT:
            raise aiohttp.ClientError(f"closed: {message.type}")
        for line in message.data.splitlines():
            frame: dict[str, Any] = json.loads(line)
            if frame["t"] in kinds:
                return frame


if __name__ == "__main__":
    main()
