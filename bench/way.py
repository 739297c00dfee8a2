"""Where messages wait: the hops of their way at 200 messages/s, and those of the slowest
hundredth."""

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
    with Hops(stack, generator.mark) as hops:
        generator.poisson(_RATE, seconds)
        verdict = generator.settle(10)
    generator.close()
    ways = []
    for key, (due, shown) in generator.trace.items():
        moments = hops.moments.get(bytes.fromhex(key), [])
        if moments and None not in moments:
            at = [due, *(moment for moment in moments if moment is not None), shown]
            ways.append([end - begin for begin, end in pairwise(at)])
    ways.sort(key=sum)
    slow = ways[-max(1, len(ways) // 100) :]
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
        "verdict": verdict._asdict(),
    }


def _histogram(milliseconds: list[float]) -> dict[str, int]:
    bounds = (0.0, *_BUCKETS_MS)
    counts = {
        str(high): sum(low < one <= high for one in milliseconds) for low, high in pairwise(bounds)
    }
    return {**counts, "more": sum(one > _BUCKETS_MS[-1] for one in milliseconds)}
