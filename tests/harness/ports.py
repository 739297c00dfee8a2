"""Free ports for servers of the tests, on 127.0.0.1."""

import os
import random
import socket

_SPAN = 32


def free_base_port() -> int:
    """A base port whose whole span of a local stack is free now."""
    chosen = random.Random(os.urandom(8))
    while True:
        base = chosen.randrange(20_000, 30_000, _SPAN)
        if all(_is_free(base + offset) for offset in range(_SPAN)):
            return base


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
