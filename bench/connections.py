"""(d) Many idle connections: logins/s, memory and CPU of the gateway. (e) Devices that come back
after an absence and fetch what they missed."""

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import uvloop

from bench.generator import UPGRADE, masked
from bench.prefill import prefill
from bench.sockets import percentiles
from bench.system import System
from connectors.redis.client import RedisClient
from gateway.edge.tokens import issue
from schemas.ids import user_id

_AT_ONCE = 100
_LIMIT = 1 << 20


class Device:
    """One device on a raw WebSocket, to the first gateway or to `address`."""

    def __init__(self, stack: System, user: str, address: tuple[str, int] | None = None) -> None:
        self.address = address or stack.gateway
        self._stack = stack
        self._user = user
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter

    async def connect(self) -> None:
        """Connect; returns after the `welcome`. Raises ConnectionRefusedError if the node refuses
        the connection."""
        self._reader, self._writer = await asyncio.open_connection(*self.address, limit=_LIMIT)
        self._writer.write(UPGRADE)
        answer = await self._reader.readuntil(b"\r\n\r\n")
        if not answer.startswith(b"HTTP/1.1 101"):
            self._writer.close()
            raise ConnectionRefusedError(answer.split(b"\r\n")[0].decode())
        token = issue(user_id(self._user), self._stack.secret, time.time())
        welcome = await self.ask(
            {"t": "hello", "id": 1, "version": 1, "token": token, "device": "bench"}
        )
        assert welcome["t"] == "welcome", welcome

    async def ask(self, command: dict[str, Any]) -> dict[str, Any]:
        """Send a frame; returns the first frame of the next WebSocket message."""
        self._writer.write(masked(json.dumps(command).encode()))
        while True:
            first, length = await self._reader.readexactly(2)
            if length == 126:
                length = int.from_bytes(await self._reader.readexactly(2), "big")
            elif length == 127:
                length = int.from_bytes(await self._reader.readexactly(8), "big")
            payload = await self._reader.readexactly(length)
            if first == 0x81:
                answer: dict[str, Any] = json.loads(payload.split(b"\n")[0])
                return answer

    async def lost(self) -> None:
        """Returns when the connection has ended."""
        try:
            while await self._reader.read(4096):
                pass
        except OSError:
            pass
        self._writer.close()

    def close(self) -> None:
        self._writer.close()


def idle(stack: System, count: int, seconds: float) -> dict[str, Any]:
    """Connect `count` devices, then leave them alone for `seconds`."""
    return uvloop.run(_idle(stack, count, seconds))


async def _idle(stack: System, count: int, seconds: float) -> dict[str, Any]:
    pid = stack.pids["gateway-1"]
    devices = [Device(stack, f"idle{number}") for number in range(count)]
    redis_before = await _redis_bytes(stack)
    before, cpu, began = _resident_kib(pid), stack.cpu(), time.monotonic()
    await _each(devices, lambda device: device.connect())
    elapsed, connected = time.monotonic() - began, stack.cpu()
    await asyncio.sleep(1)
    resident, resting, redis_bytes = (
        _resident_kib(pid),
        stack.cpu(),
        await _redis_bytes(stack) - redis_before,
    )
    await asyncio.sleep(seconds)
    rested = stack.cpu()
    for device in devices:
        device.close()
    return {
        "connections": count,
        "logins_per_second": round(count / elapsed),
        "us_per_login": {name: round((connected[name] - cpu[name]) / count * 1e6) for name in cpu},
        "gateway_kib_per_connection": round((resident - before) / count, 1),
        "redis_bytes_per_connection": round(redis_bytes / count),
        "idle_cpu_percent": {
            name: round((rested[name] - resting[name]) / seconds * 100, 1) for name in cpu
        },
    }


def come_back(stack: System, count: int, missed: int) -> dict[str, Any]:
    """`count` devices come back at once, and each has missed `missed` messages. A device is done
    when it has them all."""
    page = stack.sequencer()
    assert page is not None
    target = page["messages"] + count * missed
    uvloop.run(prefill(stack.kafka, stack.redis, 4, count * missed, count))
    while (page := stack.sequencer()) is None or page["messages"] < target:
        time.sleep(0.2)
    time.sleep(2)
    return uvloop.run(_come_back(stack, count, missed))


async def _come_back(stack: System, count: int, missed: int) -> dict[str, Any]:
    times: list[float] = []

    async def back(device: Device) -> None:
        began = time.monotonic()
        await device.connect()
        heads = await device.ask({"t": "sync", "id": 2, "cursors": {}})
        ((conversation, head),) = heads["heads"].items()
        answer = await device.ask(
            {"t": "history", "id": 3, "conversation": conversation, "after": head - missed}
        )
        assert [message["seq"] for message in answer["messages"]] == list(
            range(head - missed + 1, head + 1)
        ), answer
        times.append(time.monotonic() - began)

    devices = [Device(stack, f"bob{number}") for number in range(count)]
    cpu, began = stack.cpu(), time.monotonic()
    await _each(devices, back)
    elapsed = time.monotonic() - began
    used = {name: after - cpu[name] for name, after in stack.cpu().items()}
    for device in devices:
        device.close()
    return {
        "devices": count,
        "missed": missed,
        "devices_per_second": round(count / elapsed),
        "ms": percentiles(times),
        "us_per_device": {name: round(seconds / count * 1e6) for name, seconds in used.items()},
    }


async def _each(devices: list[Device], act: Any) -> None:
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(device: Device) -> None:
        async with gate:
            await act(device)

    await asyncio.gather(*(one(device) for device in devices))


async def _redis_bytes(stack: System) -> int:
    client = RedisClient(stack.redis)
    memory = (await client.command("INFO", "memory")).decode()
    used = int(memory.partition("used_memory:")[2].split()[0])
    await client.close()
    return used


def _resident_kib(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1])
    raise ValueError("no VmRSS")
