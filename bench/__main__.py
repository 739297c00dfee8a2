"""`python -m bench`: measures on this machine and writes bench/results."""

import argparse
import json
import platform
import sys
import time
from pathlib import Path
from typing import Any

from bench import hostile
from bench.compare import compare
from bench.parts import PARTS, RATES, Plan, measure
from bench.plots import plot
from bench.system import Checkout
from bench.table import make_table
from bench.yardstick import million_additions_per_cpu_second, thousand_messages_per_cpu_second

_RESULTS = Path(__file__).parent / "results"
_CONDITIONS = (
    "A figure is the median of the runs (least–most); way, presence, archive and restore have one. "
    "100 pairs talk; receipts and archive are on. "
    "Times count from when a message was due until its recipient showed it. "
    "A message is done when it is acknowledged by the broker (acks=all, its page cache, no fsync; "
    "with MESSENGER_FLUSH=always after an fsync; of three brokers, by at least two), numbered, and "
    "delivered to every device. "
    "The generator and all servers (broker, Redis and ClickHouse included) share the machine's "
    "cores; `cores` and `us` are those of the servers. "
    "ejabberd was measured in the same run. The best peers of the first table were measured once, "
    "elsewhere, on 2026-11-29, with fsync."
)


def main() -> None:
    names = ",".join(part.name for part in PARTS)
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--only", metavar="PARTS", help=f"some of {names}; only hostile is written")
    parser.add_argument("--quick", action="store_true", help="to see that it works; as --only")
    parser.add_argument("--rates", help="messages/s of the curve, such as 200,2000")
    parser.add_argument("--attacks", help=f"some of {','.join(hostile.ATTACKS)}")
    parser.add_argument("--seconds", type=float, default=Plan().seconds, help="of one run")
    parser.add_argument("--runs", type=int, default=Plan().runs, help="of each measurement")
    parser.add_argument("--checkout", type=Path, help="measure this built checkout; as --only")
    parser.add_argument("--save", type=Path, help="write the results to this JSON file, too")
    parser.add_argument("--compare", type=Path, help="print ratios to the results in this file")
    options = parser.parse_args()
    rates = tuple(map(int, options.rates.split(","))) if options.rates else RATES
    attacks = tuple(options.attacks.split(",")) if options.attacks else Plan().attacks
    if wrong := set(attacks) - set(hostile.ATTACKS):
        parser.error(f"no attack {', '.join(sorted(wrong))}")
    plan = Plan(options.quick, options.seconds, options.runs, rates, attacks)
    if options.quick:
        plan = plan._replace(seconds=2.0, runs=1)
    wanted = (options.only or names).split(",")
    if unknown := set(wanted) - set(names.split(",")):
        parser.error(f"no part {', '.join(sorted(unknown))}; there are {names}")
    results = _measure(Checkout.at(options.checkout), plan, wanted)
    text = json.dumps(results, indent=1) + "\n"
    if options.save is not None:
        options.save.write_text(text)
    print(make_table(results))
    if "hostile" in wanted and not (options.quick or options.checkout):
        hostile.keep(results)
    if options.compare is not None:
        print(compare(results, json.loads(options.compare.read_text())))
    if not (options.quick or options.only or options.checkout):
        _RESULTS.mkdir(exist_ok=True)
        (_RESULTS / "latest.json").write_text(text)
        (_RESULTS / "latest.md").write_text(make_table(results))
        plot(results["parts"], _RESULTS)
        print(f"written to {_RESULTS}")


def _measure(checkout: Checkout, plan: Plan, wanted: list[str]) -> dict[str, Any]:
    cores = Path("/proc/cpuinfo").read_text().count("\nprocessor") + 1
    machine = f"{platform.machine()}, {cores} cores, Python {platform.python_version()}"
    results: dict[str, Any] = {
        "when": time.strftime("%Y-%m-%d %H:%M", time.gmtime()),
        "commit": checkout.commit,
        "machine": machine,
        "command": " ".join(["python -m bench", *sys.argv[1:]]),
        "conditions": _CONDITIONS,
        "yardstick": [_yardstick()],
        "parts": {},
    }
    began = time.monotonic()
    for name, figures in measure(checkout, plan, wanted):
        results["parts"][name] = figures
        print(f"{time.monotonic() - began:.0f} s: {name} is measured", file=sys.stderr)
        print(json.dumps(figures), file=sys.stderr, flush=True)
    results["yardstick"].append(_yardstick())
    return results


def _yardstick() -> list[float]:
    return [million_additions_per_cpu_second(), thousand_messages_per_cpu_second()]


if __name__ == "__main__":
    main()
