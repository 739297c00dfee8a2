"""Where a message is when: another process reads what passes on the loopback interface, with the
kernel's time of each packet, and recognises messages by their keys.

So a hop costs the system nothing, and needs no help from it; any checkout can be looked at. It
needs root (a packet socket, man 7 packet). The reader takes some share of a core, so figures of
other rows come from runs without it.
"""

import multiprocessing
import re
import socket
import struct
import time
from collections.abc import Iterable, Mapping
from multiprocessing.connection import Connection
from typing import NamedTuple, Self

from bench.requests import owners_of_ports
from bench.system import System

HOPS = (
    "the device's frame is on the way",
    "gateway: until it submits",
    "Kafka: until the worker has it",
    "worker: until it delivers",
    "Kafka: until the gateway has it",
    "gateway: until it writes to the device",
    "the device shows it",
)
"""What ends at the moments of `Way`, one after the other; the first begins when the message is
due."""
_SO_TIMESTAMPNS, _ETH_P_IP = 35, 0x0800
_POLL = 0.05


class Packet(NamedTuple):
    at: float
    """Of time.monotonic."""
    source: int
    to: int
    payload: bytes


class Hops:
    """Reads along while its context is entered. `mark`: what the keys of the messages begin with,
    in hex."""

    def __init__(self, stack: System, mark: str) -> None:
        self._stack, self._mark = stack, mark
        self._pipe, theirs = multiprocessing.get_context("spawn").Pipe()
        self._reader = multiprocessing.get_context("spawn").Process(
            target=_read, args=(stack.base_port, theirs), daemon=True
        )
        self.moments: dict[bytes, list[float | None]] = {}
        """Key → the moments at which the hops but the last one ended, None where none was seen."""

    def __enter__(self) -> Self:
        self._reader.start()
        assert self._pipe.recv() == "ready"
        return self

    def __exit__(self, *_: object) -> None:
        self._pipe.send("stop")
        packets: list[Packet] = self._pipe.recv()
        self._reader.join()
        owners = owners_of_ports(self._stack.pids)
        self.moments = moments_of(packets, self._stack.base_port, owners, self._mark)


def _read(base_port: int, pipe: Connection) -> None:
    found: list[tuple[float, int, int, bytes]] = []
    ports = range(base_port, base_port + 40)
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ETH_P_IP)) as packets:
        packets.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        packets.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 26)
        packets.bind(("lo", _ETH_P_IP))
        packets.settimeout(_POLL)
        offset = time.monotonic() - time.time()
        pipe.send("ready")
        while not pipe.poll():
            for _ in range(100):
                try:
                    data, more, _, _ = packets.recvmsg(1 << 17, 64)
                except TimeoutError:
                    break
                if data[9] != socket.IPPROTO_TCP:
                    continue
                start = (data[0] & 15) * 4
                source, to = struct.unpack_from("!HH", data, start)
                payload = data[start + (data[start + 12] >> 4) * 4 :]
                if payload and (source in ports or to in ports):
                    seconds, nanoseconds = struct.unpack("qq", more[0][2])
                    found.append((seconds + nanoseconds / 1e9 + offset, source, to, payload))
    pipe.send([Packet(*packet) for packet in found])


def moments_of(
    packets: Iterable[Packet], base_port: int, owners: Mapping[int, str], mark: str
) -> dict[bytes, list[float | None]]:
    """What `Hops.moments` holds. `owners`: port that a part's connection has on its own side → the
    part."""
    gateway, kafka = base_port, base_port + 8
    raw = re.compile(re.escape(bytes.fromhex(mark)) + b".{12}", re.DOTALL)
    coded = re.compile(b'"key":"(' + mark.encode() + b'[0-9a-f]{24})"')
    shown = re.compile(b'"t":"message"[^\\n]*?"key":"(' + mark.encode() + b'[0-9a-f]{24})"')
    found: dict[bytes, list[float | None]] = {}

    def note(key: bytes, hop: int, at: float) -> None:
        moments = found.setdefault(key, [None] * (len(HOPS) - 1))
        if moments[hop] is None:
            moments[hop] = at

    for at, source, to, payload in packets:
        by = owners.get(source if to == kafka else to, "")
        if to == gateway:
            for key in coded.findall(payload):
                note(bytes.fromhex(key.decode()), 0, at)
        elif source == gateway:
            for key in shown.findall(payload):
                note(bytes.fromhex(key.decode()), 5, at)
        elif to == kafka and by.startswith("gateway"):
            for key in raw.findall(payload):
                note(key, 1, at)
        elif source == kafka and by.startswith("worker"):
            for key in raw.findall(payload):
                note(key, 2, at)
        elif to == kafka and by.startswith("worker"):
            for key in coded.findall(payload):
                note(bytes.fromhex(key.decode()), 3, at)
        elif source == kafka and by.startswith("gateway"):
            for key in coded.findall(payload):
                note(bytes.fromhex(key.decode()), 4, at)
    return found
