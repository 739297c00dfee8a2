"""Devices of the benchmark are in step when their answer is complete, and come back when their node
dies."""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from bench.fleet import Fleet

_SECRET = "s" * 32


class _Node:
    """Turns the first connection away; answers a sync in two parts, the second pending once."""

    def __init__(self) -> None:
        self.address = ("", 0)
        self.syncs: list[str] = []
        self._refused = False
        self._pending = 0
        self._writers: list[asyncio.StreamWriter] = []
        self._loop: asyncio.AbstractEventLoop
        self._stopped: asyncio.Event

    async def run(self, ready: threading.Event) -> None:
        self._loop, self._stopped = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.address = server.sockets[0].getsockname()
        ready.set()
        await self._stopped.wait()
        server.close()
        self._close()
        while len(asyncio.all_tasks()) > 1:
            await asyncio.sleep(0.01)

    def die(self) -> None:
        """All connections end."""
        self._loop.call_soon_threadsafe(self._close)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stopped.set)

    def _close(self) -> None:
        for writer in self._writers:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if not self._refused:
            self._refused = True
            writer.write(b"HTTP/1.1 503 Service Unavailable\r\n\r\n")
            writer.close()
            return
        self._writers.append(writer)
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
        await self._frame(reader)
        self._send(writer, {"t": "welcome"})
        while True:
            try:
                sync = await self._frame(reader)
            except (asyncio.IncompleteReadError, ConnectionResetError):
                writer.close()
                return
            self.syncs.append(sync["after"])
            if not sync["after"]:
                self._send(writer, {"t": "heads", "heads": {}, "next": "m"})
                continue
            self._pending += 1
            self._send(writer, {"t": "heads", "heads": {}, "pending": self._pending == 1})

    async def _frame(self, reader: asyncio.StreamReader) -> dict[str, str]:
        while (first := await reader.readexactly(2))[0] == 0x8A:
            await reader.readexactly(4)  # a pong
        length = first[1] & 127
        if length == 126:
            length = int.from_bytes(await reader.readexactly(2), "big")
        await reader.readexactly(4)
        frame: dict[str, str] = json.loads(await reader.readexactly(length))
        return frame

    def _send(self, writer: asyncio.StreamWriter, frame: dict[str, object]) -> None:
        text = json.dumps(frame).encode()
        writer.write(bytes((0x89, 0, 0x81, len(text))) + text)  # after a ping


@contextmanager
def _node() -> Iterator[_Node]:
    node, ready = _Node(), threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(node.run(ready)))
    thread.start()
    ready.wait()
    try:
        yield node
    finally:
        node.stop()
        thread.join()


def test_a_device_asks_until_the_answer_is_complete_and_one_turned_away_comes_again() -> None:
    with _node() as node:
        fleet = Fleet(["alice"], _SECRET)
        logins = fleet.login(node.address, at_once=1)
        fleet.close()
    assert logins.turned_away == 1
    assert len(logins.each) == 1
    assert node.syncs == ["", "m", "m"]


def test_when_the_node_dies_all_its_devices_are_waited_for() -> None:
    users = [f"user{number}" for number in range(20)]
    with _node() as node:
        fleet = Fleet(users, _SECRET)
        fleet.login(node.address, at_once=5)
        first = len(node.syncs)
        node.die()
        back = fleet.come_back(node.address)
        fleet.close()
    assert len(back.each) == len(users)
    assert len(node.syncs) - first == 2 * len(users)
