"""ejabberd on this machine in the same run, loaded and measured as we are."""

import math
import os
import time
from collections.abc import Mapping
from typing import Any

from bench.curve import PAIRS, Load, percentiles, timed
from bench.ejabberd import Ejabberd, ejabberd
from bench.processes import resident_kib
from bench.runs import combine
from bench.xmpp import XmppTalk
from bench.xmpp_crowd import Crowd

_AT_ONCE = 100
_WARM_SECONDS = 3.0
"""Of load before it is measured. The Erlang VM compiles its code when it loads it."""
_PATIENCE = 120.0
"""Seconds until a message is lost: above what it can take, it has a long queue."""
_HELD = 0.9
"""Of a rate: with less, ejabberd does not hold it."""


def measure(
    loads: Mapping[str, Load], seconds: float, runs: int, logins: int, connections: int
) -> dict[str, Any]:
    """Each load for `seconds` without an archive, and the rates also with one; what it needs when
    nothing happens; what `logins` cost and what `connections` take. Each in `runs`. Raises
    NotInstalled."""
    rates = {name: load for name, load in loads.items() if load.rate is not None}
    with ejabberd() as server:  # of its own: memory that a load has left would hide some
        memory = _connections(server, connections, runs)
    with ejabberd(archive=False) as server:
        without_archive = _loads(server, loads, seconds, runs)
    with ejabberd() as server:
        known = combine(
            [_logins(server, logins) for _ in range(runs)]
        )  # while its archive is small
        return {
            "version": server.version,
            "loads": _loads(server, rates, seconds, runs),
            "without_archive": without_archive,
            "idle": combine([_idle(server, seconds) for _ in range(runs)]),  # its start is over
            "logins": known,
            "connections": memory,
        }


def _loads(
    server: Ejabberd, loads: Mapping[str, Load], seconds: float, runs: int
) -> dict[str, Any]:
    """A rate that it did not hold is measured once, and rates above not at all: it would need
    minutes for their queues."""
    talk = XmppTalk(server, PAIRS, seed=1)
    talk.closed(2, _WARM_SECONDS)
    talk.settle(_PATIENCE)
    talk.close()
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in loads}
    most = math.inf
    for run in range(runs):  # in turn, because the machine's speed changes with time
        for name, load in loads.items():
            if load.rate is not None and load.rate >= most:
                continue
            talk = XmppTalk(server, PAIRS, run)
            figures = timed(talk, server, load, seconds, _PATIENCE)
            found[name].append(figures)
            if load.rate is not None and figures["messages_per_second"] < _HELD * load.rate:
                most = load.rate
    return {name: combine(each) for name, each in found.items() if each}


def _idle(server: Ejabberd, seconds: float) -> dict[str, Any]:
    before = server.cpu()
    time.sleep(seconds)
    return {"cores": (server.cpu() - before) / seconds}


def _logins(server: Ejabberd, users: int) -> dict[str, Any]:
    """Users without an archive; the same with two messages in it; and without a look into it."""
    names = _people(users)
    found = {}
    for kind in ("unknown", "known", "without_sync"):
        crowd = Crowd(server, names, sync=kind != "without_sync")
        cpu, own = server.cpu(), time.process_time()
        logins = crowd.login(_AT_ONCE)
        used, own = server.cpu() - cpu, time.process_time() - own
        found[kind] = {
            "logins_per_second": round(users / logins.seconds),
            "ms": percentiles(logins.each),
            "us": {"ejabberd": round(used / users * 1e6)},
            "generator_us": round(own / users * 1e6),
        }
        if kind == "unknown":
            crowd.greet()
        crowd.close()
        time.sleep(1)
    return found


def _connections(server: Ejabberd, users: int, runs: int) -> dict[str, Any]:
    crowds, found = [], []
    for _ in range(runs):
        before = resident_kib(server.pid)
        crowd = Crowd(server, _people(users))
        crowd.login(_AT_ONCE)
        crowds.append(crowd)
        for other in crowds:
            other.rest(1)
        used = resident_kib(server.pid) - before
        found.append({"kib_per_connection": round(used / users, 2)})
    for crowd in crowds:
        crowd.close()
    return combine(found)


def _people(users: int) -> list[str]:
    run = os.urandom(3).hex()
    return [f"guest{n}-{run}" for n in range(users)]
