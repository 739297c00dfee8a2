"""(j) History through the gateway: pages from the log and from the archive, and how reading them
slows down sending."""

import asyncio
import json
import math
import multiprocessing
import os
import random
import time
import urllib.request
from typing import Any

import aiohttp
import uvloop

from bench.generator import Generator
from bench.sockets import PAIRS, percentiles
from bench.system import System
from connectors.kafka.admin import TopicsAdmin
from connectors.kafka.reader import Reader
from gateway.edge.tokens import issue
from schemas.ids import user_id
from schemas.topics import LOG

_PARTITIONS = 4
_RATE = 200.0
_READERS = 2
_PAGES_PER_SECOND = 20.0
_ROUNDS = 3


def measure(stack: System, seconds: float) -> dict[str, Any]:
    """Fill conversations and read their newest pages from the log. Then let the log expire and read
    pages from the archive, alone and while people talk."""
    generator = Generator(stack.gateway, stack.secret, PAIRS, seed=3)
    generator.closed(8, seconds)
    generator.settle(10)
    generator.close()
    names = generator.conversations()
    _wait_archived(stack)
    found: dict[str, Any] = {"messages": sum(names.values())}
    for readers in (1, 8):
        found[f"recent_{readers}_ms"] = percentiles(
            _read(stack, names, readers, seconds / 2, recent=True)
        )
    _expire(stack)
    for readers in (1, 8):
        found[f"archive_{readers}_ms"] = percentiles(
            _read(stack, names, readers, seconds / 2, recent=False)
        )
    beside = {
        "alone": None,
        f"beside_{_PAGES_PER_SECOND:.0f}_pages_a_second": _PAGES_PER_SECOND / _READERS,
        f"beside_{_READERS}_who_never_stop": math.inf,
    }
    shown: dict[str, list[float]] = {name: [] for name in beside}
    for _ in range(_ROUNDS):  # in turn, because the machine's speed changes with time
        for name, rate in beside.items():
            shown[name] += _talk_beside(stack, names, seconds, rate)
    return {
        **found,
        **{f"shown_{name}_ms": percentiles(latencies) for name, latencies in shown.items()},
    }


def _talk_beside(
    stack: System, names: dict[str, int], seconds: float, rate: float | None
) -> list[float]:
    """Latencies of talking while readers read; `rate` is pages/s of each, None for no readers."""
    if rate is None:
        return _talk(stack, seconds)
    reading = multiprocessing.get_context("spawn").Process(
        target=_read_beside, args=(stack, names, seconds + 2, rate)
    )
    reading.start()
    time.sleep(2)
    latencies = _talk(stack, seconds)
    reading.join()
    return latencies


def _read_beside(stack: System, names: dict[str, int], seconds: float, rate: float) -> None:
    os.nice(19)  # in production, readers are other machines
    _read(stack, names, _READERS, seconds, recent=False, rate=rate)


def _talk(stack: System, seconds: float) -> list[float]:
    generator = Generator(stack.gateway, stack.secret, PAIRS, seed=5, precise=True)
    generator.poisson(_RATE, 1.0)
    generator.reset()
    generator.poisson(_RATE, seconds)
    generator.settle(10)
    generator.close()
    return generator.latencies


def _wait_archived(stack: System) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        with urllib.request.urlopen(
            f"http://127.0.0.1:{stack.base_port + 13}/archiver/", timeout=5
        ) as answer:
            page = json.load(answer)["messages"]
        if all(partition["lag"] == 0 for partition in page["partitions"]):
            return
        time.sleep(0.2)
    raise TimeoutError("the archiver did not catch up within 60 s")


def _expire(stack: System) -> None:
    """Delete all of the log, as retention would."""
    reader = Reader(stack.kafka)
    for number in range(_PARTITIONS):
        TopicsAdmin(stack.kafka, _PARTITIONS, 8).expire(
            LOG, number, reader.watermarks(LOG, number)[1]
        )
    reader.close()


def _read(
    stack: System,
    names: dict[str, int],
    readers: int,
    seconds: float,
    recent: bool,
    rate: float = math.inf,
) -> list[float]:
    return uvloop.run(_reading(stack, names, readers, seconds, recent, rate))


async def _reading(
    stack: System, names: dict[str, int], readers: int, seconds: float, recent: bool, rate: float
) -> list[float]:
    host, port = stack.gateway
    chance = random.Random(readers)
    latencies: list[float] = []
    until = time.monotonic() + seconds

    async def reader(http: aiohttp.ClientSession) -> None:
        while time.monotonic() < until:
            await asyncio.sleep(chance.expovariate(rate))
            name = chance.choice(list(names))
            token = issue(user_id(name.partition(":")[0]), stack.secret, time.time())
            before = "" if recent else f"&before={chance.randint(60, names[name])}"
            began = time.monotonic()
            async with http.get(
                f"http://{host}:{port}/v1/conversations/{name}/messages?limit=50{before}",
                headers={"Authorization": f"Bearer {token}"},
            ) as answer:
                page = await answer.json()
            latencies.append(time.monotonic() - began)
            assert answer.status == 200, page
            assert len(page["messages"]) == 50, page

    async with aiohttp.ClientSession() as http:
        await asyncio.gather(*(reader(http) for _ in range(readers)))
    return latencies
