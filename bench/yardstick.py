"""How fast the machine is now: shared machines differ by half from one hour to the next, and figures with them."""

import time

_ADDITIONS = 10_000_000


def million_additions_per_cpu_second() -> float:
    """Of a plain Python loop, in this process."""
    began, total = time.process_time(), 0
    for number in range(_ADDITIONS):
        total += number
    return round(_ADDITIONS / 1e6 / (time.process_time() - began), 1)
