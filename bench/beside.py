"""What people run beside the messages: how much later a message comes while an analyst, an operator
or a trace asks for as much as it may."""

import json
import multiprocessing
import os
import resource
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from multiprocessing.connection import Connection
from typing import Any

from bench import archive
from bench.curve import PAIRS, percentiles, warm
from bench.generator import Generator
from bench.merges import settle
from bench.system import UNLIMITED, Checkout, System, system
from connectors.clickhouse.admin import ArchiveAdmin
from connectors.clickhouse.client import Address

_RATE = 200.0
"""Messages a second."""
_PERSON, _SHARE, _EACH = "zed", 0.2, 1_000
"""Whose messages are exported, which share of all is theirs, and how many a conversation has."""
_DAYS_MS = 28 * 24 * 3600 * 1000
_BEGUN_SECONDS, _REST_SECONDS = 0.5, 2.0
"""Before it is measured, and after it."""
_ALWAYS = "(since = '1970-01-01 00:00:00', until = '2200-01-01 00:00:00')"
_VIEWS = (
    *(
        f"archive.{name}{_ALWAYS}"
        for name in (
            *("message_times_between", "messages_by_hour", "activity_by_day", "retention_by_week"),
            *("latency_by_day", "answers_by_day"),
        )
    ),
    *(f"archive.{name}" for name in ("conversation_lengths", "repeats", "gaps", "daily")),
)
"""Those of docs/DATA.md that do not say at once what they have."""
_AT_LIMITS = (
    "SELECT uniqExact(body, n) FROM archive.exact_messages ARRAY JOIN range(8) AS n "
    "SETTINGS max_threads = 2, max_memory_usage = 1000000000, max_execution_time = 60"
)
"""The most that ops/clickhouse/users.xml lets an analyst ask for."""
_PANELS = 4
"""Queries of an analyst at once, as of a dashboard."""
_SHARES = ("0.01", "1")


def measure(
    checkout: Checkout, seconds: float, warm_seconds: float, rows: int
) -> dict[str, dict[str, Any]]:
    """Each thing in turn, for `seconds`, on one stack whose archive has so many messages; then
    traces, for which each share needs a stack of its own."""
    found = {}
    with system(checkout) as stack:
        warm(stack, warm_seconds)
        _fill(stack, rows)
        settle(stack)
        for name, make in _WHAT.items():
            found[name] = _one(stack, make, seconds)
            print(f"{name}: {json.dumps(found[name])}", file=sys.stderr, flush=True)
    with _collector() as address:
        without, _ = _traced(checkout, {}, warm_seconds, seconds)
        for share in _SHARES:
            traces = {"MESSENGER_TRACES": address, "MESSENGER_TRACES_SHARE": share}
            of_share, verdict = _traced(checkout, traces, warm_seconds, seconds)
            found[f"traces, share {share}"] = _compared(without, of_share, verdict)
    return found


def _traced(
    checkout: Checkout, traces: dict[str, str], warm_seconds: float, seconds: float
) -> tuple[dict[str, Any], dict[str, int]]:
    """The figures and the verdict of a fresh stack with these settings."""
    with system(checkout, environment={**traces, **UNLIMITED}) as stack:
        warm(stack, warm_seconds)
        settle(stack)
        with _load(stack) as load:
            return load.figures(seconds), load.settle()


class _Load:
    """200 messages/s, and what the stack does meanwhile."""

    def __init__(self, stack: System) -> None:
        self._stack = stack
        self._generator = Generator(stack.gateway, stack.secret, PAIRS, seed=7)

    def figures(self, seconds: float) -> dict[str, Any]:
        self._generator.reset()
        before, began = sum(self._stack.cpu().values()), time.monotonic()
        self._generator.poisson(_RATE, seconds)
        used, took = sum(self._stack.cpu().values()) - before, time.monotonic() - began
        return {
            "ms": percentiles(self._generator.latencies),
            "cores": round(used / took, 3),
        }

    def go_on(self, seconds: float) -> None:
        self._generator.poisson(_RATE, seconds)

    def settle(self) -> dict[str, int]:
        return self._generator.settle(15)._asdict()

    def close(self) -> None:
        self._generator.close()


@contextmanager
def _load(stack: System) -> Iterator[_Load]:
    load = _Load(stack)
    try:
        load.go_on(1.5)
        yield load
    finally:
        load.close()


def _one(
    stack: System, make: "Callable[[System], list[_Beside]]", seconds: float
) -> dict[str, Any]:
    with _load(stack) as load:
        besides = make(stack)
        before = load.figures(seconds)
        used = _tools_cpu()
        for one in besides:
            one.start()
        load.go_on(_BEGUN_SECONDS)
        meanwhile = load.figures(seconds)
        for one in besides:
            one.stopping.set()
        for one in besides:
            one.end()
            one.join()
        found = _compared(before, meanwhile, load.settle()) | {
            "tool_cores": round((_tools_cpu() - used) / (_BEGUN_SECONDS + seconds), 3),
            "done": sum(one.done for one in besides),
            "failed": next((one.failed for one in besides if one.failed), ""),
        }
        load.go_on(_REST_SECONDS)
        return found


def _compared(
    before: dict[str, Any], meanwhile: dict[str, Any], verdict: dict[str, int]
) -> dict[str, Any]:
    return {
        "before_ms": before["ms"],
        "meanwhile_ms": meanwhile["ms"],
        "ratio": round(meanwhile["ms"]["p99"] / before["ms"]["p99"], 2),
        "cores_before": before["cores"],
        "cores_meanwhile": meanwhile["cores"],
        "verdict": verdict,
    }


def _tools_cpu() -> float:
    """CPU seconds of commands that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


class _Beside(threading.Thread):
    """Does something again and again until `stopping` is set. `once` returns what went wrong, if
    anything did; `end` ends one that is under way."""

    def __init__(self, once: Callable[[], str], end: Callable[[], None]) -> None:
        super().__init__(daemon=True)
        self._once, self.end = once, end
        self.stopping = threading.Event()
        self.done = 0
        self.failed = ""

    def run(self) -> None:
        while not self.stopping.is_set():
            failed = self._once()
            if not self.stopping.is_set():
                self.done += not failed
                self.failed = failed or self.failed


def _query(stack: System, query: str, at_once: int = 1) -> list[_Beside]:
    """An analyst's."""

    def end() -> None:
        admin = ArchiveAdmin(stack.clickhouse("admin"))
        admin.run("KILL QUERY WHERE user = 'analyst' ASYNC")
        admin.close()

    return [_Beside(lambda: _ask(stack, query), end) for _ in range(at_once)]


def _ask(stack: System, query: str) -> str:
    address = Address.parse(stack.clickhouse("analyst"))
    login = {"X-ClickHouse-User": address.user, "X-ClickHouse-Key": address.password}
    request = urllib.request.Request(f"http://{address}/", f"{query} FORMAT Null".encode(), login)
    try:
        urllib.request.urlopen(request, timeout=90).close()
    except urllib.error.HTTPError as error:
        return error.read().decode(errors="replace")[:200]
    except OSError as error:  # else the thread ends, and what is measured has nothing beside it
        return str(error)
    return ""


def _heaviest(stack: System) -> list[_Beside]:
    """The view that takes longest over all, of those that an analyst may ask for it."""
    took: dict[str, float] = {}
    for view in _VIEWS:
        began = time.monotonic()
        failed = _ask(stack, f"SELECT * FROM {view}")
        took[view] = 0.0 if failed else time.monotonic() - began
        print(f"{view}: {failed or f'{took[view]:.2f} s'}", file=sys.stderr, flush=True)
    return _query(stack, f"SELECT * FROM {max(took, key=lambda view: took[view])}")


def _command(stack: System, *arguments: str) -> list[_Beside]:
    """`messenger`, with these arguments."""
    running: list[subprocess.Popen[bytes]] = []

    def once() -> str:
        with subprocess.Popen(
            [sys.executable, "-m", "ops", *arguments],
            env={**os.environ, "MESSENGER_HOME": str(stack.home)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        ) as process:
            running[:] = [process]
            said = process.communicate()[1].decode(errors="replace").strip()
            return f"exit code {process.returncode}: {said[-200:]}" if process.returncode else ""

    def end() -> None:
        for process in running:
            process.kill()

    return [_Beside(once, end)]


_WHAT: dict[str, Callable[[System], list[_Beside]]] = {
    "the heaviest view": _heaviest,
    "messenger export": lambda stack: _command(stack, "export", _PERSON),
    "an analyst at the limits": lambda stack: _query(stack, _AT_LIMITS, _PANELS),
    "messenger report": lambda stack: _command(stack, "report", f"--out={stack.home / 'report'}"),
    "messenger audit": lambda stack: _command(stack, "audit"),
}


def _fill(stack: System, rows: int) -> None:
    """Four weeks of messages, and of marks of what was read."""
    admin = ArchiveAdmin(stack.clickhouse("admin"))
    began = int(time.time() * 1000) - _DAYS_MS
    theirs = int(rows * _SHARE)
    for count, first, second in (
        (theirs, "friend", f"'{_PERSON}'"),
        (rows - theirs, "a", f"concat('b', toString(intDiv(number, {_EACH})))"),
    ):
        one = f"concat('{first}', toString(intDiv(number, {_EACH})))"
        archive.insert(
            admin,
            count,
            f"concat({one}, ':', {second})",
            f"number % {_EACH} + 1",
            f"{began} + number % {_EACH} * {_DAYS_MS // _EACH} + cityHash64(number) % 60000",
            sender=f"if(cityHash64(number) % 2, {one}, {second})",
        )
    admin.run(
        "INSERT INTO archive.cursors SELECT conversation, "
        "arrayFirst(member -> member != sender, splitByChar(':', conversation)), 'read', seq, "
        "time + cityHash64(seq) % 600 FROM archive.messages WHERE seq % 8 = 0 "
        "SETTINGS max_partitions_per_insert_block = 0"
    )
    admin.close()


@contextmanager
def _collector() -> Iterator[str]:
    """The address of a collector that takes traces and forgets them."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_collect, args=(theirs,))
    process.start()
    try:
        yield f"http://127.0.0.1:{ours.recv()}/v1/traces"
    finally:
        process.kill()
        process.join()


def _collect(port: Connection) -> None:
    os.nice(19)
    with HTTPServer(("127.0.0.1", 0), _Forgetful) as server:
        port.send(server.server_port)
        server.serve_forever()


class _Forgetful(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""
