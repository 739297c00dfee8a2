"""How long it is dark when a broker or a worker fails, and whether anything is lost: makes
docs/dark-times.md.

    python -m tests.chaos.dark_times --rounds 10 --out docs/dark-times.md
    python -m tests.chaos.dark_times --rounds 1 --only killed      # faults whose names have it

It starts a stack of three brokers, and lets each fault of tests/harness/broker_faults.py happen
`--rounds` times while sixteen people talk; those that have many likes, or take long, a third as
often. Ten rounds take some 20 minutes on a quiet machine. A disk that is full needs the right to
mount a file system, which root has.
"""

import argparse
import asyncio
import json
import math
import os
import platform
import subprocess
import sys
import tempfile
import textwrap
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.harness.broker_faults import FAULTS, NEED_MOUNT, PARTITIONS, SELDOM, Fault, Scene
from tests.harness.brokers import may_mount
from tests.harness.load import PAIRS, Load, prefixes
from tests.harness.stack import Stack
from tests.harness.talk import Talk

PAUSE_SECONDS = 0.2
"""Each of sixteen people says five messages a second: what matters is who gets through, and two
cores carry the brokers, too."""
_SETTLE_SECONDS = 60.0
_AUDIT_SECONDS = 120.0
_WIDTH = 100
"""Of a line of the page's prose."""
_KINDS = {
    "lost": ("lost-write", "poll-skip", "unseen"),
    "twice": ("duplicate",),
    "reordered": ("nonmonotonic-send", "nonmonotonic-poll"),
    "unequal": ("inconsistent-offsets", "phantom"),
}
"""Columns of the page, by the judge's words."""


class Outcome(NamedTuple):
    """`dark` has the seconds of each round; `counts` how many findings of each kind both judges
    have, and `said` what they say of them. A fault that cannot be made here has no rounds."""

    fault: str
    dark: Sequence[float]
    counts: Mapping[str, int]
    said: Sequence[str]


async def play(stack: Stack, prefix: str, name: str, fault: Fault, rounds: int) -> Outcome:
    """Let a fault happen while people talk; then both judges say what came of it. The judge of
    the topics goes on from where it was after the last fault on this stack."""
    dark = []
    async with Talk(stack, prefix) as talk:
        load = Load(talk, PAUSE_SECONDS)
        try:
            await load.start()
            await load.sent(2 * PAIRS)
            scene = Scene(stack, talk, load)
            for scene.round in range(rounds):
                await load.dark()
                dark.append(await fault(scene))
                print(f"{name}: dark for {dark[-1]:.1f} s", flush=True)
            await load.stop()
            await talk.settle(_SETTLE_SECONDS)
        finally:
            await load.cancel()
        devices = talk.verdict()
    judged = await asyncio.to_thread(
        stack.run,
        *("audit", "--json", "--checkpoint", str(stack.home / "audit")),
        timeout=_AUDIT_SECONDS,
    )
    assert judged.stdout, judged.stderr
    *found, whole = map(json.loads, judged.stdout.splitlines())
    counts = Counter(devices.counts) + Counter(whole["findings"])
    return Outcome(name, dark, counts, [*devices.take(), *map(str, found)])


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest of the values that so large a share of them does not exceed."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def page(outcomes: Sequence[Outcome]) -> str:
    """docs/dark-times.md."""
    where = f"{os.cpu_count()} cores, {platform.system()}"
    lines = [
        "# Dark times",
        "",
        textwrap.fill(
            "Written by `python -m tests.chaos.dark_times`; do not edit. Commit "
            f"{_commit()}, {time.strftime('%Y-%m-%d', time.gmtime())}, {where}, everything on one "
            f"machine: three brokers, two workers, two gateways, {2 * PAIRS} people who each say "
            f"{1 / PAUSE_SECONDS:g} messages a second in {PAIRS} conversations.",
            _WIDTH,
        ),
        "",
        textwrap.fill(
            "Dark is the longest time in which one of the conversations got no message through, in "
            "seconds, from one acknowledged message to the next. The verdict is that of "
            "`messenger audit` and of what all devices showed, after all rounds.",
            _WIDTH,
        ),
        "",
        "| fault | rounds | " + " | ".join(_KINDS) + " | dark p50 | dark p99 |",
        "|---|" + "---|" * (len(_KINDS) + 3),
    ]
    for outcome in outcomes:
        if not outcome.dark:
            lines.append(f"| {outcome.fault} | not run: it needs the right to mount |")
            continue
        counts = [str(sum(outcome.counts[kind] for kind in kinds)) for kinds in _KINDS.values()]
        times = [f"{percentile(outcome.dark, share):.1f}" for share in (0.5, 0.99)]
        cells = [outcome.fault, str(len(outcome.dark)), *counts, *times]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty"]
    return subprocess.run(command, capture_output=True, text=True).stdout.strip()


async def measure(stack: Stack, only: str, rounds: int, out: Path | None) -> list[Outcome]:
    """The outcomes of the faults whose names have `only` in them. `out` has a page of them after
    each: what was measured stays, whatever ends this."""
    outcomes = []
    prefix = prefixes(PARTITIONS)
    for name, fault in FAULTS.items():
        if only not in name:
            continue
        if name in NEED_MOUNT and not may_mount():
            outcomes.append(Outcome(name, (), {}, ()))
            continue
        began = time.monotonic()
        times = max(1, rounds // 3) if name in SELDOM else rounds
        outcomes.append(await play(stack, next(prefix), name, fault, times))
        await asyncio.to_thread(stack.wait_healthy)
        if out:
            out.write_text(page(outcomes))
        print("\n".join(outcomes[-1].said), end="", flush=True)
        print(f"{name}: {time.monotonic() - began:.0f} s", flush=True)
    return outcomes


def main() -> int:
    """The exit code: 1 if a judge found anything."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.dark_times")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--only", default="", help="faults whose names contain this")
    parser.add_argument("--out", type=Path, help="the page; without it, it is printed")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="messenger-dark-") as folder:
        parts = {"workers": 2, "gateways": 2, "cursors": None, "presence": None, "brokers": 3}
        with Stack(Path(folder) / "stack", **parts) as stack:  # type: ignore[arg-type]
            outcomes = asyncio.run(measure(stack, options.only, options.rounds, options.out))
    if not options.out:
        print(page(outcomes))
    return 1 if any(outcome.counts for outcome in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
