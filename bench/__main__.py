"""`python -m bench`: first form."""

import argparse
from pathlib import Path
from typing import Any

from bench import curve
from bench.runs import repeat
from bench.system import Checkout, system
from bench.yardstick import million_additions_per_cpu_second, thousand_messages_per_cpu_second


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench")
    parser.add_argument("--only", default="curve")
    parser.add_argument("--rates", default="50,200,1000,2000,5000,10000")
    parser.add_argument("--loops", default="", help="devices x window, e.g. 1x1,1x8,3x8")
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--warm", type=float, default=10)
    parser.add_argument("--partitions", type=int)
    parser.add_argument("--checkout", type=Path)
    parser.add_argument("--no-archive", action="store_true")
    options = parser.parse_args()
    print(
        "yardstick",
        million_additions_per_cpu_second(),
        thousand_messages_per_cpu_second(),
        flush=True,
    )
    loads = {f"{rate}/s": curve.Load(float(rate)) for rate in options.rates.split(",") if rate}
    for loop in filter(None, options.loops.split(",")):
        devices, window = map(int, loop.split("x"))
        loads[f"{devices} devices, window {window}"] = curve.Load(None, window, devices)
    checkout = Checkout.at(options.checkout)
    archivers = None if options.no_archive else 1
    with system(checkout, partitions=options.partitions, archivers=archivers) as stack:
        curve.warm(stack, options.warm)
        for name, load in loads.items():
            figures = repeat(
                options.runs,
                lambda n, load=load: curve.measure(stack, load, options.seconds, n),
            )
            print(f"\n{checkout.commit}, {name}", flush=True)
            show(figures)


def show(figures: dict[str, Any], prefix: str = "  ") -> None:
    for name, value in figures.items():
        if isinstance(value, dict) and any(isinstance(v, dict) for v in value.values()):
            print(f"{prefix}{name}:")
            show(value, prefix + "  ")
        elif isinstance(value, dict):
            print(f"{prefix}{name}: " + ", ".join(f"{k} {one(v)}" for k, v in value.items()))
        else:
            print(f"{prefix}{name}: {one(value)}")


def one(value: Any) -> str:
    if isinstance(value, list):
        median, least, most = value
        return f"{median:g}" if least == most else f"{median:g} ({least:g}-{most:g})"
    return str(value)


if __name__ == "__main__":
    main()
