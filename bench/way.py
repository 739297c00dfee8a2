"""Where messages wait: the hops of their way at 200 messages/s, and those of the slowest
hundredth.

A message of the slowest hundredth has beside it the pauses of the broker's JVM that it met.
"""

import time
from itertools import pairwise
from typing import Any

from bench.curve import PAIRS, percentiles
from bench.generator import Generator
from bench.hops import HOPS, Hops
from bench.system import System

_RATE = 200.0
_BUCKETS_MS = (0.25, 0.5, 1, 2, 4, 8, 16, 32, 64)


def measure(stack: System, seconds: float) -> dict[str, Any]:
    """Of each hop: p50, p95 and p99 in ms, how many messages took up to so many ms, and its mean
    among the slowest hundredth of all messages."""
    generator = Generator(stack.gateway, stack.secret, PAIRS, seed=9)
    generator.poisson(_RATE, 1.5)
    generator.reset()
    generator.trace = {}
    began = time.monotonic()
    with Hops(stack, generator.mark) as hops:
        generator.poisson(_RATE, seconds)
        verdict = generator.settle(10)
    generator.close()
    ways, starts = [], []
    for key, (due, shown) in generator.trace.items():
        moments = hops.moments.get(bytes.fromhex(key), [])
        if moments and None not in moments:
            at = [due, *(moment for moment in moments if moment is not None), shown]
            starts.append(due)
            ways.append([end - begin for begin, end in pairwise(at)])
    slowest = sorted(range(len(ways)), key=lambda n: sum(ways[n]))[-max(1, len(ways) // 100) :]
    slow = [ways[n] for n in slowest]
    pauses = stack.broker_pauses(began)
    return {
        "messages": len(generator.trace),
        "seen_whole": len(ways),
        "all": percentiles([sum(way) for way in ways]),
        "hops": {
            hop: {
                **percentiles([way[n] for way in ways]),
                "slowest_hundredth": round(sum(way[n] for way in slow) / len(slow) * 1000, 2),
                "up_to_ms": _histogram([way[n] * 1000 for way in ways]),
            }
            for n, hop in enumerate(HOPS)
        },
        "slowest": [
            {
                "second": round(starts[n] - began, 3),
                "ms": [round(hop * 1000, 2) for hop in ways[n]],
                "met": [
                    f"{why} of {seconds * 1000:.1f} ms"
                    for at, seconds, why in pauses
                    if at < starts[n] + sum(ways[n]) and at + seconds > starts[n]
                ],
            }
            for n in sorted(slowest)
        ],
        "broker_pauses": {
            "count": len(pauses),
            "of_5_ms_and_more": [
                f"{why} at {at - began:.2f} s, {seconds * 1000:.1f} ms"
                for at, seconds, why in pauses
                if seconds >= 0.005
            ],
        },
        "verdict": verdict._asdict(),
    }


def _histogram(milliseconds: list[float]) -> dict[str, int]:
    bounds = (0.0, *_BUCKETS_MS)
    counts = {
        str(high): sum(low < one <= high for one in milliseconds) for low, high in pairwise(bounds)
    }
    return {**counts, "more": sum(one > _BUCKETS_MS[-1] for one in milliseconds)}
