"""What a message costs and how long it takes, by load: Poisson arrivals and closed loops of 100
pairs over sockets, with receipts and the archive."""

import time
from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from bench.generator import Generator
from bench.system import System
from bench.talk import Talk
from bench.threads import Threads

PAIRS = 100
_SINGLY = 500.0
"""Messages/s at which most go alone."""
_COMPILES, _STEP_SECONDS = 0.03, 5.0
"""So many cores of compilers are as good as none; for so long they are looked at."""


class Load(NamedTuple):
    """`rate` messages/s that arrive at random; without a rate, each user keeps `window` messages in
    flight."""

    rate: float | None = None
    window: int = 0
    devices: int = 1


class Servers(Protocol):
    """What is loaded."""

    def requests(self) -> Counter[str]:
        """Requests that each part has sent to Kafka so far."""

    def threads(self) -> Threads:
        """What counts the threads of the parts that run now."""


def percentiles(seconds: list[float]) -> dict[str, float]:
    """p50, p95 and p99 in ms."""
    ordered = sorted(seconds) or [0.0]
    return {
        f"p{p}": round(ordered[min(len(ordered) - 1, len(ordered) * p // 100)] * 1000, 2)
        for p in (50, 95, 99)
    }


def warm(stack: System, seconds: float) -> None:
    """Load the stack flat out for `seconds`, and then lightly until the broker's JVM compiles no
    more, for as long again at most. It compiles what runs often, and flat out a request that waits
    for records is rare."""
    generator = Generator(stack.gateway, stack.secret, PAIRS, seed=1)
    generator.closed(2, seconds)
    generator.settle(10)
    threads, until = stack.threads(), time.monotonic() + seconds
    compiled, before = threads.compiler_seconds(), 0.0
    while compiled - before > _COMPILES * _STEP_SECONDS and time.monotonic() < until:
        generator.poisson(_SINGLY, _STEP_SECONDS)
        compiled, before = threads.compiler_seconds(), compiled
    generator.settle(10)
    generator.close()


def measure(stack: System, load: Load, seconds: float, seed: int) -> dict[str, Any]:
    """One run."""
    generator = Generator(stack.gateway, stack.secret, PAIRS, seed, load.devices)
    figures = timed(generator, stack, load, seconds)
    return {**figures, "resyncs": generator.resyncs}


def timed(
    talk: Talk[Any], servers: Servers, load: Load, seconds: float, patience: float = 10
) -> dict[str, Any]:
    """One run of users who have logged in. Messages that are not done `patience` seconds after it
    are lost. Closes the connections."""
    _run(talk, load, 1.5)
    talk.reset()
    watch = _Watch(servers)
    _run(talk, load, seconds)
    done, figures = talk.done, watch.figures(talk.done)
    latencies, late, marks = talk.latencies, talk.late, talk.marks
    verdict = talk.settle(patience)
    talk.close()
    return {
        "messages_per_second": round(done / figures["seconds"], 1),
        "ms": percentiles(latencies),
        **figures,
        "marks_per_message": round(marks / max(1, done), 2),
        "generator_late_ms": percentiles(late),
        "verdict": verdict._asdict(),
    }


def _run(talk: Talk[Any], load: Load, seconds: float) -> None:
    if load.rate is None:
        talk.closed(load.window, seconds)
    else:
        talk.poisson(load.rate, seconds)


class _Watch:
    """What the servers use from now on."""

    def __init__(self, servers: Servers) -> None:
        self._servers, self._threads = servers, servers.threads()
        self._requests = servers.requests()
        self._own, self._began = time.process_time(), time.monotonic()
        self._usage = self._threads.usage()

    def figures(self, messages: int) -> dict[str, Any]:
        usage, elapsed = self._threads.usage(), time.monotonic() - self._began
        own = time.process_time() - self._own
        requests = self._servers.requests() - self._requests
        cpu = {part: usage.cpu[part] - self._usage.cpu[part] for part in usage.cpu}
        threads = usage.threads - self._usage.threads
        switches = usage.switches - self._usage.switches
        return {
            "seconds": elapsed,
            "cores": round(sum(cpu.values()) / elapsed, 3),
            "generator_cores": round(own / elapsed, 3),
            "messages_per_cpu_second": round(messages / sum(cpu.values())),
            "us": _each(cpu, messages, 1e6),
            "us_by_thread": {
                part: _each(
                    {kind: used for (of, kind), used in threads.most_common() if of == part},
                    messages,
                    1e6,
                )
                for part in cpu
            },
            "requests": _each(requests, messages, 1),
            "switches": _each(switches, messages, 1),
        }


def _each(figures: Mapping[str, float], messages: int, factor: float) -> dict[str, float]:
    """Per message; what rounds to nothing is left out, and all if no message was done."""
    if not messages:
        return {}
    each = {name: round(figure / messages * factor, 2) for name, figure in figures.items()}
    return {name: figure for name, figure in each.items() if figure}
