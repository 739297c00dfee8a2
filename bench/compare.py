"""This run beside an earlier one."""

import statistics
from typing import Any

from bench.cells import figure
from bench.table import flat

_COSTS, _RATES = ("us", "cores"), ("per second", "per cpu second", "per worker cpu second")
_NOT_COMPARED = (
    "generator",
    "verdict",
    "up to ms",
    "seconds",
    "slowest",
    "resyncs",
    "marks per message",
)


def compare(now: dict[str, Any], then: dict[str, Any]) -> str:
    """Ratios now / then of all figures that both have. The last column is what would be left if the
    machine had been as fast then: a cost is multiplied by the yardstick of its day, a rate divided
    by it."""
    speed = _yardstick(now) / _yardstick(then)
    earlier = dict(flat(then["parts"]))
    lines = [
        f"Commit {now['commit']} of {now['when']} beside {then['commit']} of {then['when']}.",
        f"By the yardstick, the machine is {speed:.2f} times as fast as then.",
        "",
        "| figure | now | then | ratio | with the yardstick |",
        "|---|---|---|---|---|",
    ]
    for name, value in flat(now["parts"]):
        was = earlier.get(name)
        if any(word in name for word in _NOT_COMPARED) or was is None:
            continue
        new, old = _median(value), _median(was)
        if new is None or not old or ("us by thread" in name and old < 5):
            continue
        ratio = new / old
        words = name.split(", ")
        fair = ""
        if any(word in _COSTS for word in words) or "us by thread" in words:
            fair = f"{ratio * speed:.2f}"
        elif words[-1].endswith(_RATES):
            fair = f"{ratio / speed:.2f}"
        lines.append(f"| {name} | {figure(value)} | {figure(was)} | {ratio:.2f} | {fair} |")
    return "\n".join(lines)


def _median(value: Any) -> float | None:
    median = value[0] if isinstance(value, list) and value else value
    return median if isinstance(median, int | float) else None


def _yardstick(results: dict[str, Any]) -> float:
    """Messages decoded and found a CPU-second, before and after the run."""
    return statistics.mean(float(messages) for _, messages in results["yardstick"])
