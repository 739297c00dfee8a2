"""(i) A node dies with thousands of devices. They come back to the other node, with jitter, and ask
what they missed. Then all go at once. Others talk meanwhile."""

import asyncio
import multiprocessing
import os
import random
import signal
import time
from multiprocessing.connection import Connection
from typing import Any

import uvloop

from bench.connections import Device
from bench.generator import Generator
from bench.sockets import percentiles
from bench.system import System

_RATE = 200.0
_PAIRS = 50
_FIRST, _LAST = 0.1, 20.0
"""The shortest and the longest wait of docs/PROTOCOL.md, in seconds."""


def measure(stack: System, count: int) -> dict[str, Any]:
    """`count` devices are on the second node, which is killed; pairs talk on the first."""
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    storming = multiprocessing.get_context("spawn").Process(
        target=_storm, args=(stack, count, theirs)
    )
    storming.start()
    assert ours.recv() == "connected"
    generator = Generator(stack.gateway, stack.secret, _PAIRS, seed=7, precise=True)
    generator.poisson(_RATE, 1.0)
    generator.reset()
    generator.poisson(_RATE, 10.0)
    before, generator.latencies = generator.latencies, []
    os.kill(stack.pids["gateway-2"], signal.SIGKILL)
    while not ours.poll():
        generator.poisson(_RATE, 0.5)
    meanwhile, generator.latencies = generator.latencies, []
    seconds, turned_away = ours.recv()
    ours.send("go")
    generator.poisson(_RATE, 3.0)
    vanishing = generator.latencies
    lost = generator.settle(10)
    generator.close()
    storming.join(10)
    return {
        "devices": count,
        "seconds": seconds,
        "turned_away": turned_away,
        "others_before_ms": percentiles(before),
        "others_meanwhile_ms": percentiles(meanwhile),
        "others_when_all_go_ms": percentiles(vanishing),
        "others_lost": lost,
        "others_told_to_ask": generator.resyncs,
    }


def _storm(stack: System, count: int, pipe: Connection) -> None:
    os.nice(19)  # in production, devices are other machines
    uvloop.run(_come_back(stack, count, pipe))


async def _come_back(stack: System, count: int, pipe: Connection) -> None:
    host, port = stack.gateway
    chance, turned_away = random.Random(1), 0
    devices = [Device(stack, f"storm{number}", (host, port + 1)) for number in range(count)]
    gate = asyncio.Semaphore(100)

    async def first(device: Device) -> None:
        async with gate:
            await device.connect()
            await device.ask({"t": "sync", "id": 1, "cursors": {}})

    await asyncio.gather(*(first(device) for device in devices))
    pipe.send("connected")
    lost = [asyncio.create_task(device.lost()) for device in devices]
    await asyncio.wait(lost, return_when=asyncio.FIRST_COMPLETED)
    began = time.monotonic()

    async def back(device: Device, ended: "asyncio.Task[None]") -> None:
        nonlocal turned_away
        await ended
        device.address = host, port
        for attempt in range(100):
            await asyncio.sleep(chance.random() * min(_LAST, _FIRST * 2.0 ** min(attempt, 16)))
            try:
                await device.connect()
                await device.ask({"t": "sync", "id": 2, "cursors": {}})
                return
            except (OSError, asyncio.IncompleteReadError, ConnectionRefusedError):
                turned_away += 1
        raise RuntimeError("a device never came back")

    await asyncio.gather(
        *(back(device, ended) for device, ended in zip(devices, lost, strict=True))
    )
    pipe.send((round(time.monotonic() - began, 1), turned_away))
    await asyncio.to_thread(pipe.recv)
    for device in devices:
        device.close()
