"""What a message costs and how long it takes, by load: Poisson arrivals and closed loops of 100
pairs over sockets, with receipts and the archive."""

import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from bench.generator import Generator
from bench.system import System

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
    _run(generator, load, 1.5)
    generator.reset()
    watch = _Watch(stack)
    _run(generator, load, seconds)
    done, figures = generator.done, watch.figures(generator.done)
    latencies, late, marks = generator.latencies, generator.late, generator.marks
    verdict = generator.settle(10)
    generator.close()
    return {
        "messages_per_second": round(done / figures["seconds"], 1),
        "ms": percentiles(latencies),
        **figures,
        "marks_per_message": round(marks / done, 2),
        "generator_late_ms": percentiles(late),
        "resyncs": generator.resyncs,
        "verdict": verdict._asdict(),
    }


def _run(generator: Generator, load: Load, seconds: float) -> None:
    if load.rate is None:
        generator.closed(load.window, seconds)
    else:
        generator.poisson(load.rate, seconds)


class _Watch:
    """What the stack uses from now on."""

    def __init__(self, stack: System) -> None:
        self._stack, self._threads = stack, stack.threads()
        self._requests = stack.requests()
        self._own, self._began = time.process_time(), time.monotonic()
        self._usage = self._threads.usage()

    def figures(self, messages: int) -> dict[str, Any]:
        usage, elapsed = self._threads.usage(), time.monotonic() - self._began
        own = time.process_time() - self._own
        requests = self._stack.requests() - self._requests
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
    """Per message; what rounds to nothing is left out."""
    each = {name: round(figure / messages * factor, 2) for name, figure in figures.items()}
    return {name: figure for name, figure in each.items() if figure}
