"""What a login costs (connect, hello, sync, and the complete answer), and a connection after it."""

import os
import time
from typing import Any

from bench.curve import percentiles
from bench.fleet import Fleet
from bench.generator import introduce
from bench.processes import resident_kib
from bench.runs import combine
from bench.system import System

_AT_ONCE = 100


def measure(stack: System, users: int) -> dict[str, Any]:
    """`users` that have one conversation each: users that no gateway has seen before, the same
    again, and the same without a sync."""
    names = _people(stack, users)
    found = {"unknown": _login(stack, names)}
    for name in ("again", "known"):  # the first time, an old gateway may learn a part of them only
        found[name] = _login(stack, names)
    found["without_sync"] = _login(stack, names, sync=False)
    del found["again"]
    return found


def connections(stack: System, users: int, runs: int) -> dict[str, Any]:
    """What a connection costs the gateway in memory, after its sync: `users` connections, and as
    many again in each further run."""
    fleets: list[Fleet] = []
    found = []
    for _ in range(runs):
        fleet = Fleet(_people(stack, users), stack.secret)
        before = resident_kib(stack.pids["gateway-1"])
        fleet.login(stack.gateway, _AT_ONCE)
        for other in (*fleets, fleet):
            other.rest(1)
        used = resident_kib(stack.pids["gateway-1"]) - before
        found.append({"kib_per_connection": round(used / users, 2)})
        fleets.append(fleet)
    for fleet in fleets:
        fleet.close()
    return combine(found)


def _people(stack: System, users: int) -> list[str]:
    """New users with one conversation each."""
    run = os.urandom(3).hex()
    names = [f"guest{n}-{run}" for n in range(users)]
    introduce(stack.gateway, stack.secret, names)
    return names


def _login(stack: System, users: list[str], sync: bool = True) -> dict[str, Any]:
    fleet = Fleet(users, stack.secret, sync)
    cpu, own = stack.cpu(), time.process_time()
    logins = fleet.login(stack.gateway, _AT_ONCE)
    used, own = stack.cpu(), time.process_time() - own
    fleet.close()
    time.sleep(1)
    return {
        "logins_per_second": round(len(users) / logins.seconds),
        "ms": percentiles(logins.each),
        "us": {name: round((used[name] - cpu[name]) / len(users) * 1e6) for name in used},
        "generator_us": round(own / len(users) * 1e6),
        "turned_away": logins.turned_away,
    }
