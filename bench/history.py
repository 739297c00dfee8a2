"""Pages of history through the gateway: the newest of a conversation, and old ones from the
archive."""

import json
import random
import selectors
import time
import urllib.request
from typing import Any

import msgspec

from bench.curve import PAIRS, percentiles
from bench.generator import PONG, TEXT, Device, Generator, masked, websocket_messages
from bench.system import System
from connectors.kafka.admin import TopicsAdmin
from connectors.kafka.reader import Reader
from connectors.kafka.wanted_topics import WantedTopics
from schemas.topics import LOG

_PARTITIONS = 4


def measure(stack: System, seconds: float, runs: int) -> list[dict[str, Any]]:
    """Fill conversations and read their newest pages. Then let the log expire and read pages from
    the archive. Every read takes `seconds`, with 1 and with 8 readers, in each of `runs`."""
    generator = Generator(stack.gateway, stack.secret, PAIRS, seed=3)
    generator.closed(8, 5)
    generator.settle(10)
    generator.close()
    _wait_archived(stack)
    devices = [
        Device(
            name.partition(":")[0], name.partition(":")[2], stack.gateway, stack.secret, "reader"
        )
        for name in generator.conversations()
    ]
    for device in devices:
        device.cursor = generator.conversations()[device.conversation]

    def read(kind: str, recent: bool) -> dict[str, Any]:
        return {
            f"{kind}_{readers}_ms": percentiles(_read(devices, readers, seconds, recent))
            for readers in (1, 8)
        }

    found = [read("recent", recent=True) for _ in range(runs)]
    _expire(stack)
    found = [{**one, **read("archive", recent=False)} for one in found]
    for device in devices:
        device.sock.close()
    return found


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
    reader, admin = Reader(stack.kafka), TopicsAdmin(stack.kafka, WantedTopics(_PARTITIONS, 8))
    for number in range(_PARTITIONS):
        admin.expire(LOG, number, reader.watermarks(LOG, number)[1])
    reader.close()


def _read(devices: list[Device], readers: int, seconds: float, recent: bool) -> list[float]:
    """Seconds of each page; at any time, `readers` of the devices wait for one."""
    chance = random.Random(readers)
    until = time.monotonic() + seconds
    idle, began, latencies = list(devices), dict[Device, float](), list[float]()
    with selectors.DefaultSelector() as selector:
        for device in devices:
            selector.register(device.sock, selectors.EVENT_READ, device)
        while began or time.monotonic() < until:
            while len(began) < readers and time.monotonic() < until:
                device = idle.pop(chance.randrange(len(idle)))
                before = "" if recent else f',"before":{chance.randint(60, device.cursor)}'
                ask = f'{{"t":"history","id":9,"conversation":"{device.conversation}","limit":50'
                device.sock.sendall(masked(f"{ask}{before}}}".encode()))
                began[device] = time.monotonic()
            for key, _ in selector.select():
                device = key.data
                device.buffer += device.sock.recv(1 << 20)
                found, device.buffer = websocket_messages(device.buffer)
                for kind, payload in found:
                    if kind != TEXT:
                        device.sock.sendall(PONG)
                        continue
                    page = msgspec.json.decode(payload)
                    if page["t"] != "page":  # a mark, or the word to ask again
                        continue
                    latencies.append(time.monotonic() - began.pop(device))
                    idle.append(device)
                    assert len(page["messages"]) == 50, page
    return latencies
