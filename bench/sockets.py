"""(b) 100 pairs over sockets in a closed loop, and (c) Poisson arrivals: rates, CPU by process,
latencies, verdict."""

import statistics
import time
from collections import Counter
from typing import Any

from bench.generator import Generator
from bench.hops import Hops
from bench.system import System

PAIRS = 100


def percentiles(seconds: list[float]) -> dict[str, float]:
    """p50, p95 and p99 in ms."""
    ordered = sorted(seconds) or [0.0]
    return {
        f"p{p}": round(ordered[min(len(ordered) - 1, len(ordered) * p // 100)] * 1000, 2)
        for p in (50, 95, 99)
    }


def warm(stack: System, seconds: float) -> None:
    """Load the stack for `seconds`, so that the broker's JVM compiles."""
    generator = Generator(stack.gateway, stack.secret, PAIRS, seed=1)
    generator.closed(4, seconds)
    generator.settle(10)
    generator.close()


def closed_loop(
    stack: System, window: int, seconds: float, devices: int, receipts: bool = False
) -> dict[str, Any]:
    """Messages/s (acknowledged to the sender and received by every device), CPU of the servers by
    process, and latency from sending to showing."""
    generator = Generator(
        stack.gateway, stack.secret, PAIRS, seed=window, devices=devices, receipts=receipts
    )
    generator.closed(window, 2.0)
    generator.reset()
    cpu, began = stack.cpu(), time.monotonic()
    generator.closed(window, seconds)
    elapsed = time.monotonic() - began
    used = {name: after - cpu[name] for name, after in stack.cpu().items()}
    done, latencies = generator.done, generator.latencies
    lost = generator.settle(10)
    generator.close()
    return {
        "devices": devices,
        "marks_per_second": round(generator.marks / elapsed),
        "messages_per_second": round(done / elapsed),
        "messages_per_server_cpu_second": round(done / sum(used.values())),
        "us_per_message": {name: round(seconds / done * 1e6, 1) for name, seconds in used.items()},
        "shown_ms": percentiles(latencies),
        "verdict": {"lost": lost, "twice": generator.twice, "out_of_order": generator.out_of_order},
    }


def open_loop(stack: System, rate: float, seconds: float, runs: int) -> dict[str, Any]:
    """Latency from when a message is due until the recipient shows it, and by hop: the median of
    `runs` runs.

    Hops are measured in other runs, because watching them takes a share of the machine.
    """
    verdict: Counter[str] = Counter(lost=0, twice=0, out_of_order=0)
    shown = [_poisson(stack, rate, seconds, run, verdict) for run in range(runs)]
    hops = []
    for run in range(runs):
        with Hops(stack.kafka) as watching:
            _poisson(stack, rate, seconds, run, verdict)
        hops.append(watching.figures())
    medians = {
        "shown": _median(shown),
        **{hop: _median([found[hop] for found in hops]) for hop in hops[0]},
    }
    return {"rate": rate, "runs": runs, "ms": medians, "verdict": dict(verdict)}


def _poisson(
    stack: System, rate: float, seconds: float, seed: int, verdict: Counter[str]
) -> dict[str, float]:
    generator = Generator(stack.gateway, stack.secret, PAIRS, seed, precise=True)
    generator.poisson(rate, 1.0)
    generator.reset()
    generator.poisson(rate, seconds)
    verdict["lost"] += generator.settle(10)
    verdict["twice"] += generator.twice
    verdict["out_of_order"] += generator.out_of_order
    generator.close()
    return percentiles(generator.latencies)


def _median(results: list[dict[str, float]]) -> dict[str, float]:
    return {p: round(statistics.median(result[p] for result in results), 2) for p in results[0]}
