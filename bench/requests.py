"""Requests to Kafka, counted by the kernel: segments with data that each client's connections have
sent to the brokers' ports.

A client writes a request in one piece, so at light load a segment is a request. Under load, two
requests may share a segment, and one of more than 64 KiB takes several. The kernel tells this
through a netlink socket (man 7 sock_diag; linux/inet_diag.h, linux/tcp.h).
"""

import os
import re
import socket
import struct
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

_SOCK_DIAG, _DUMP, _DONE, _TCP_INFO = 20, 0x301, 3, 2
_DATA_SEGMENTS_OUT = 156
"""Where `tcpi_data_segs_out` is in struct tcp_info."""


class _Connection(NamedTuple):
    inode: int
    port: int
    to: int
    sent: int
    """Segments with data."""


def requests_sent(ports: Collection[int], pids: dict[str, int]) -> Counter[str]:
    """Part → requests that its present connections to these ports of the machine have sent so
    far."""
    owners = {inode: part for part, pid in pids.items() for inode in _sockets(pid)}
    found: Counter[str] = Counter()
    for connection in _connections():
        if connection.to in ports and connection.inode in owners:
            found[owners[connection.inode]] += connection.sent
    return found


def owners_of_ports(pids: dict[str, int]) -> dict[int, str]:
    """Port that a part's connection to another part has on its own side → the part."""
    owners = {inode: part for part, pid in pids.items() for inode in _sockets(pid)}
    return {one.port: owners[one.inode] for one in _connections() if one.inode in owners}


def _sockets(pid: int) -> Iterator[int]:
    """The inodes of a process's sockets."""
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            named = re.fullmatch(r"socket:\[(\d+)\]", os.readlink(link))
        except FileNotFoundError:
            continue
        if named:
            yield int(named[1])


def _connections() -> Iterator[_Connection]:
    """The machine's IPv4 TCP connections."""
    asked = struct.pack("=BBBBI48x", socket.AF_INET, socket.IPPROTO_TCP, 1 << (_TCP_INFO - 1), 0, 2)
    header = struct.pack("=IHHII", 16 + len(asked), _SOCK_DIAG, _DUMP, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 4) as kernel:
        kernel.send(header + asked)
        while True:
            answer, position = kernel.recv(1 << 18), 0
            while position < len(answer):
                length, kind = struct.unpack_from("=IH", answer, position)
                if kind == _DONE:
                    return
                if kind == _SOCK_DIAG:
                    yield _connection(answer[position + 16 : position + length])
                position += (length + 3) & ~3


def _connection(message: bytes) -> _Connection:
    port, to = struct.unpack_from("!HH", message, 4)
    (inode,) = struct.unpack_from("=I", message, 68)
    position, sent = 72, 0
    while position + 4 <= len(message):
        length, kind = struct.unpack_from("=HH", message, position)
        if kind == _TCP_INFO:
            info = message[position + 4 : position + length]
            (sent,) = struct.unpack_from("=I", info, _DATA_SEGMENTS_OUT)
        position += (length + 3) & ~3
    return _Connection(inode, port, to, sent)
