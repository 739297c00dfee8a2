"""Free ports for servers of the tests, on 127.0.0.1."""

import os
import random
import socket

_SPAN = 32
_CLAIM = _SPAN - 1
"""No part of a stack listens there. The process that got the span does, for as long as it lives, so
that no other test run takes the span before a server listens in it."""


def free_base_port() -> int:
    """A base port whose whole span of a local stack is free, and stays this process's own."""
    chosen = random.Random(os.urandom(8))
    while True:
        base = chosen.randrange(20_000, 30_000, _SPAN)
        if _claim(base + _CLAIM) and all(_is_free(base + offset) for offset in range(_CLAIM)):
            return base


def _claim(port: int) -> bool:
    claim = socket.socket()
    try:
        claim.bind(("127.0.0.1", port))
        claim.listen()
    except OSError:
        claim.close()
        return False
    claim.detach()  # open until the process ends
    return True


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
