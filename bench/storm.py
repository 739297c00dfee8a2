"""A node dies with thousands of devices. They come back to the other node, each after a random
wait, and ask what they missed. Then all vanish at once. Others talk meanwhile."""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from bench.curve import percentiles
from bench.fleet import Fleet
from bench.generator import Generator, introduce
from bench.system import System

_RATE = 200.0
_PAIRS = 50
_AT_ONCE = 100


def measure(
    stack: System, count: int, before_the_kill: Callable[[], None] = lambda: None
) -> dict[str, Any]:
    """`count` devices of users with one conversation each are on the second node, which is killed;
    pairs talk on the first."""
    users = [f"storm{number}-{os.urandom(3).hex()}" for number in range(count)]
    introduce(stack.gateway, stack.secret, users)
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    storming = multiprocessing.get_context("spawn").Process(
        target=_storm, args=(stack, users, theirs)
    )
    storming.start()
    assert ours.recv() == "connected"
    generator = Generator(stack.gateway, stack.secret, _PAIRS, seed=7)
    generator.poisson(_RATE, 1.0)
    generator.reset()
    generator.poisson(_RATE, 5.0)
    before, generator.latencies = generator.latencies, []
    before_the_kill()
    os.kill(stack.pids["gateway-2"], signal.SIGKILL)
    while not ours.poll():
        generator.poisson(_RATE, 0.2)
    meanwhile, generator.latencies = generator.latencies, []
    seconds, each, turned_away = ours.recv()
    ours.send("go")
    generator.poisson(_RATE, 3.0)
    vanishing = generator.latencies
    verdict = generator.settle(10)
    generator.close()
    storming.join(10)
    return {
        "devices": count,
        "seconds": seconds,
        "back_ms": percentiles(each),
        "turned_away": turned_away,
        "others_before_ms": percentiles(before),
        "others_meanwhile_ms": percentiles(meanwhile),
        "others_when_all_go_ms": percentiles(vanishing),
        "others_told_to_ask": generator.resyncs,
        "verdict": verdict._asdict(),
    }


def _storm(stack: System, users: list[str], pipe: Connection) -> None:
    os.nice(19)  # in production, devices are other machines
    host, port = stack.gateway
    fleet = Fleet(users, stack.secret)
    fleet.login((host, port + 1), _AT_ONCE)
    pipe.send("connected")
    back = fleet.come_back((host, port))
    pipe.send((round(back.seconds, 2), back.each, back.turned_away))
    while not pipe.poll():
        fleet.rest(0.05)
    fleet.leave()
    time.sleep(0.5)
    fleet.close()
