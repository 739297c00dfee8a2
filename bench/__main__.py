"""`python -m bench`: measures on this machine and writes bench/results/latest.json and
latest.md."""

import argparse
import json
import platform
import subprocess
import time
from pathlib import Path
from typing import Any

from bench import (
    archive,
    connections,
    history,
    presence,
    sequencer,
    sockets,
    storm,
    user_partitions,
)
from bench.system import system
from bench.table import LOOPS, RATES, WINDOWS, make_table
from bench.yardstick import million_additions_per_cpu_second, thousand_messages_per_cpu_second

_RESULTS = Path(__file__).parent / "results"
_SENT = (
    '"sent" here means: acknowledged by one broker with acks=all (its page cache, no fsync), '
    "numbered, and delivered. Generator, broker, Redis, worker and gateway share the machine's "
    "cores; server CPU is that of all but the generator."
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="a tenth of the time, to see that it works"
    )
    parser.add_argument(
        "--archive-rows",
        type=int,
        default=2_000_000,
        help="rows in the archive when (f) reads pages",
    )
    parser.add_argument("--only-archive", action="store_true", help="print (f) and write nothing")
    options = parser.parse_args()
    if options.only_archive:
        print(json.dumps(_archive(options.quick, options.archive_rows), indent=1))
        return
    results = _measure(options.quick, options.archive_rows)
    if not options.quick:
        _RESULTS.mkdir(exist_ok=True)
        (_RESULTS / "latest.json").write_text(json.dumps(results, indent=1) + "\n")
        (_RESULTS / "latest.md").write_text(make_table(results))
        print(f"written to {_RESULTS}")


def _measure(quick: bool, archive_rows: int) -> dict[str, Any]:
    results = _conditions()
    yardstick = [_yardstick()]
    print(f"yardstick {yardstick}", flush=True)

    def keep(name: str, figures: dict[str, Any]) -> None:
        results[name] = figures
        print(f"{name}: {figures}", flush=True)

    keep("a_sequencer", _sequencer(quick))
    with system() as stack:
        sockets.warm(stack, 3 if quick else 30)
        for devices, window in LOOPS:
            figures = sockets.closed_loop(stack, window, 2 if quick else 15, devices)
            keep(f"b_sockets_devices_{devices}_window_{window}", figures)
        for rate in RATES:
            figures = sockets.open_loop(stack, rate, 2 if quick else 10, 1 if quick else 5)
            keep(f"c_poisson_{rate}", figures)
        keep("d_idle", connections.idle(stack, 500 if quick else 5_000, 2 if quick else 10))
        keep("e_come_back", connections.come_back(stack, 100 if quick else 1_000, 50))
    with system(gateways=2, cursors=None, presence=None) as stack:
        sockets.warm(stack, 3 if quick else 20)
        for window in WINDOWS:
            figures = sockets.closed_loop(stack, window, 2 if quick else 15, 3, receipts=True)
            keep(f"g_receipts_window_{window}", figures)
        keep("h_presence", presence.measure(stack, 10 if quick else 100))
        keep("i_storm", storm.measure(stack, 300 if quick else 5_000))
    with system(archivers=1) as stack:
        sockets.warm(stack, 3 if quick else 20)
        keep("j_history", history.measure(stack, 3 if quick else 10))
    with system(workers=4, gateways=1) as stack:
        users = 100 if quick else 1_000
        keep("k_user_partitions", user_partitions.measure(stack, 4, users, 2 if quick else 10))
    keep("f_archive", _archive(quick, archive_rows))
    results["yardstick"] = [*yardstick, _yardstick()]
    return results


def _conditions() -> dict[str, Any]:
    """When, of which commit and on what machine this run measures."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True
    ).stdout.strip()
    processor = platform.processor() or platform.machine()
    cores = Path("/proc/cpuinfo").read_text().count("\nprocessor") + 1
    return {
        "when": time.strftime("%Y-%m-%d %H:%M", time.gmtime()),
        "commit": commit,
        "machine": f"{processor}, {cores} cores, Python {platform.python_version()}",
        "command": "make bench",
        "sent": _SENT,
    }


def _sequencer(quick: bool) -> dict[str, Any]:
    """The median of three runs, and the rates of all."""
    runs = [
        sequencer.measure(100_000 if quick else 1_000_000, 5_000) for _ in range(1 if quick else 3)
    ]
    ordered = sorted(runs, key=lambda run: run["messages_per_worker_cpu_second"])
    median = ordered[len(runs) // 2]
    return {**median, "of_runs": [run["messages_per_worker_cpu_second"] for run in runs]}


def _archive(quick: bool, rows: int) -> dict[str, Any]:
    return archive.measure(
        50_000 if quick else 1_000_000, rows // 10 if quick else rows, 2 if quick else 15
    )


def _yardstick() -> list[float]:
    return [million_additions_per_cpu_second(), thousand_messages_per_cpu_second()]


if __name__ == "__main__":
    main()
