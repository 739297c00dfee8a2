"""How fast the machine is now: shared machines differ by half from one hour to the next, and
figures with them.

A loop over numbers stays in a core's own cache; what servers do does not, and feels the neighbours
sooner.
"""

import random
import time
from typing import Any

import msgspec

_ADDITIONS = 10_000_000
_MESSAGES = 200_000


def million_additions_per_cpu_second() -> float:
    """Of a plain Python loop, in this process."""
    began, total = time.process_time(), 0
    for number in range(_ADDITIONS):
        total += number
    return round(_ADDITIONS / 1e6 / (time.process_time() - began), 1)


def thousand_messages_per_cpu_second() -> float:
    """Decoded into some 100 MB of objects and looked up in another order, in this process."""
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
