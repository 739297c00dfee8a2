"""How fast the machine is now. The speed of a shared machine changes by half from one hour to the
next.

There are two yardsticks: a loop over numbers, which stays in a core's own cache, and work on many
objects, which suffers from neighbours as servers do.
"""

import random
import time
from typing import Any

import msgspec

_ADDITIONS = 10_000_000
_MESSAGES = 200_000


def million_additions_per_cpu_second() -> float:
    """Million additions a CPU-second of a plain Python loop in this process."""
    began, total = time.process_time(), 0
    for number in range(_ADDITIONS):
        total += number
    return round(_ADDITIONS / 1e6 / (time.process_time() - began), 1)


def thousand_messages_per_cpu_second() -> float:
    """Thousand messages a CPU-second that this process decodes into some 100 MB of objects and
    looks up in another order."""
    encoded = [
        b'{"conversation":"alice%d:bob%d","seq":%d,"body":"Hello, are you here?"}' % (n, n, n)
        for n in range(_MESSAGES)
    ]
    order = list(range(_MESSAGES))
    random.Random(1).shuffle(order)
    began = time.process_time()
    known: dict[str, dict[str, Any]] = {}
    for value in encoded:
        message = msgspec.json.decode(value)
        known[message["conversation"]] = message
    for number in order:
        known[f"alice{number}:bob{number}"]["seq"] += 1
    return round(_MESSAGES / 1e3 / (time.process_time() - began), 1)
