"""What a login costs as the fleet grows, and when Redis has lost everything."""

import socket
from functools import partial
from typing import Any

from bench import logins, storm
from bench.runs import combine
from bench.system import Checkout, NotInCheckout, System, system

FLEETS = ((1, 1), (4, 4), (16, 8))
"""(partitions, workers that share them)"""
_USUAL_PARTITIONS = 4


def measure(checkout: Checkout, users: int, runs: int) -> dict[str, Any]:
    """`users` log in, in each fleet, after as many others."""
    found: dict[str, Any] = {}
    for partitions, workers in FLEETS:
        name = f"{partitions} partitions, {workers} workers"
        asked = None if partitions == _USUAL_PARTITIONS else partitions
        try:
            with system(checkout, workers=workers, archivers=None, partitions=asked) as stack:
                logins.measure(stack, users)
                found[name] = combine([logins.measure(stack, users) for _ in range(runs)])
        except NotInCheckout as reason:
            found[name] = {"left_out": str(reason)}
    return found


def redis_emptied(checkout: Checkout, devices: int, runs: int) -> dict[str, Any]:
    """Redis is emptied, and a node dies with `devices` at that moment; four workers share the
    partitions."""
    with system(checkout, workers=4, gateways=2, archivers=None) as stack:
        empty = partial(_empty, stack)
        return combine([storm.measure(stack, devices, empty) for _ in range(runs)])


def _empty(stack: System) -> None:
    with socket.create_connection(("127.0.0.1", stack.base_port + 10)) as redis:
        redis.sendall(b"FLUSHALL\r\n")
        assert redis.recv(100) == b"+OK\r\n"
