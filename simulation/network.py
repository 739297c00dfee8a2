"""The network between devices and gateways, and between gateways and workers.

Messages of a wire arrive in order, each a while after it was sent. What arrives at a process that
stands still waits in its kernel.
"""

import asyncio
import random
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextvars import Context
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlsplit

from gateway.node import Node
from gateway.queries.worker_transport import WorkersUnavailable
from messenger_sdk.dialer import Closed
from schemas.codec import join_frames
from schemas.codes import Close
from simulation.process import Process, current_process
from streams.worker import Worker
from streams.worker_api import Request

DEVICE_LATENCY = 0.0005, 0.02
INNER_LATENCY = 0.0001, 0.001
_SLOW, _SLOW_SECONDS = 0.005, 0.5
_CLOSE_SECONDS = 2.0
"""How long a gateway waits for a device's answer to its close."""
HEARTBEAT = 25.0, 40.0
"""After so long each side notices that nothing comes from the other any more."""


class GatewayProcess(Protocol):
    """A gateway as the network sees it."""

    process: Process
    node: Node


class WorkerProcess(Protocol):
    """A worker as the network sees it."""

    process: Process
    worker: Worker


class Network:
    """Who can be reached by which address. `chance` gives every message its latency."""

    def __init__(self, loop: asyncio.AbstractEventLoop, chance: random.Random) -> None:
        self.gateways: dict[str, GatewayProcess] = {}
        """By URL."""
        self.workers: dict[str, WorkerProcess] = {}
        """By host:port."""
        self.wires: dict[Wire, None] = {}
        """Those that the device has not seen end."""
        self.device_sent: Callable[[bytes, bool], None] | None = None
        """Gets each message that a device sends, and whether it can arrive; a trace sets it."""
        self.loop = loop
        self.chance = chance

    def latency(self, bounds: tuple[float, float]) -> float:
        """How long the next message takes, in seconds."""
        if self.chance.random() < _SLOW:
            return self.chance.uniform(bounds[0], _SLOW_SECONDS)
        return self.chance.uniform(*bounds)


class _Goodbye:
    """A WebSocket close frame from the device."""


class _Broken:
    """The connection ended without a word."""


class _Pipe:
    """One direction of a wire."""

    def __init__(self, network: Network, context: Context) -> None:
        self.bytes = 0
        """On the way, or not read yet."""
        self._network = network
        self._context = context
        self._last = 0.0
        self._arrived: deque[Any] = deque()
        self._waiting: asyncio.Future[None] | None = None

    def put(self, item: Any) -> None:
        loop = self._network.loop
        arrival = max(self._last, loop.time() + self._network.latency(DEVICE_LATENCY))
        self._last = arrival
        if isinstance(item, bytes):
            self.bytes += len(item)
        loop.call_at(arrival, self._arrive, item, context=self._context)

    async def get(self) -> Any:
        while not self._arrived:
            self._waiting = self._network.loop.create_future()
            await self._waiting
        item = self._arrived.popleft()
        if isinstance(item, bytes):
            self.bytes -= len(item)
        return item

    def _arrive(self, item: Any) -> None:
        self._arrived.append(item)
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)


class Wire:
    """One connection of a device to a gateway, both ends: the SDK's `Link`, and through `_NodeEnd`
    the gateway's `Transport`."""

    def __init__(self, network: Network, device: Process, gateway: GatewayProcess) -> None:
        self.device = device
        self.gateway = gateway.process
        self._network = network
        self._node = gateway.node
        self._up = _Pipe(network, gateway.process.context.copy())
        self._down = _Pipe(network, device.context.copy())
        self._cut = False
        """Nothing that is sent arrives."""
        self._closed: Closed | None = None
        """How the device has seen it end."""
        network.wires[self] = None
        device.on_end[self._device_ended] = None
        device.on_pause[self._paused] = None
        gateway.process.on_end[self._gateway_ended] = None
        gateway.process.on_pause[self._paused] = None

    # The device's end

    async def send(self, message: bytes) -> None:
        if self._closed is not None:
            raise ConnectionError("the link has ended")
        if self._network.device_sent is not None:
            self._network.device_sent(message, not self._cut)
        if not self._cut:
            self._up.put(message)

    async def receive(self) -> bytes | Closed:
        if self._closed is not None:
            return self._closed
        item = await self._down.get()
        if isinstance(item, bytes):
            return item
        self._closed = item
        if item.code and not self._cut:
            self._up.put(_Goodbye())  # its answer
        self._forget()
        return self._closed

    async def close(self) -> None:
        if self._closed is None:
            self._closed = Closed(1000)
            self._forget()
            if not self._cut:
                self._up.put(_Goodbye())

    # What happens to it

    def break_(self) -> None:
        """It is reset: both sides notice at once."""
        self._cut = True
        self._up.put(_Broken())
        self._down.put(Closed(0))

    def cut(self) -> None:
        """The network vanishes: both sides notice when they miss the other's heartbeat."""
        if not self._cut:
            self._cut = True
            loop, chance = self._network.loop, self._network.chance
            for pipe, end in ((self._up, _Broken()), (self._down, Closed(0))):
                loop.call_later(chance.uniform(*HEARTBEAT), pipe.put, end, context=Context())

    def _gateway_ended(self) -> None:
        if not self._cut:
            self._cut = True
            self._down.put(Closed(0))

    def _device_ended(self) -> None:
        if not self._cut:
            self._cut = True
            self._up.put(_Broken())
        self._forget()

    def _paused(self) -> None:
        """One side stands still: the other notices if that lasts."""
        after = self._network.chance.uniform(*HEARTBEAT)
        self._network.loop.call_later(after, self._look, context=Context())

    def _look(self) -> None:
        if (self.device.paused or self.gateway.paused) and self._closed is None:
            self.break_()

    def _forget(self) -> None:
        self._network.wires.pop(self, None)
        self.device.on_end.pop(self._device_ended, None)
        self.device.on_pause.pop(self._paused, None)
        self.gateway.on_end.pop(self._gateway_ended, None)
        self.gateway.on_pause.pop(self._paused, None)

    # The gateway's end

    async def serve(self, came: float) -> None:
        """In the gateway's process, from the request to the end."""
        refusal = self._node.refusal()
        if refusal is not None:
            self._down.put(Closed(503, refusal))
            return
        end = _NodeEnd(self)
        waited = int((self._network.loop.time() - came) * 1000)
        connection = self._node.accept(end, waited)
        self._down.put(b"")  # the handshake's answer
        while isinstance(item := await self._up.get(), bytes):
            connection.receive(item)
            await end.reading.wait()
        end.ended()
        connection.ended(isinstance(item, _Goodbye) and connection.closing is None)

    def push(self, item: bytes | Closed) -> None:
        if not self._cut:
            self._down.put(item)

    def unsent(self) -> int:
        return self._down.bytes

    def abort(self) -> None:
        self._cut = True
        self._up.put(_Broken())
        self._down.put(Closed(0))


class _NodeEnd:
    """`Transport`."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self.reading = asyncio.Event()
        self.reading.set()
        self._giving_up: asyncio.TimerHandle | None = None

    def write(self, frames: Sequence[bytes]) -> None:
        if self._giving_up is None:
            self._wire.push(join_frames(frames))

    def close(self, code: Close, reason: str) -> None:
        if self._giving_up is None:
            self._wire.push(Closed(code.number, reason))
            self._giving_up = asyncio.get_running_loop().call_later(
                _CLOSE_SECONDS, self._wire.abort
            )

    def abort(self) -> None:
        self._wire.abort()

    def unsent(self) -> int:
        return self._wire.unsent()

    def pause(self) -> None:
        self.reading.clear()

    def resume(self) -> None:
        self.reading.set()

    def ended(self) -> None:
        if self._giving_up is not None:
            self._giving_up.cancel()


class DeviceDialer:
    """`Dialer` of one device's process. While it is not `connected` no dial succeeds."""

    def __init__(self, network: Network, process: Process) -> None:
        self.connected = True
        self._network = network
        self._process = process

    async def dial(self, url: str) -> Wire:
        parts = urlsplit(url)
        gateway = self._network.gateways.get(f"{parts.scheme}://{parts.netloc}")
        await asyncio.sleep(self._network.latency(DEVICE_LATENCY))
        if not self.connected:
            raise OSError("the network is away")
        if gateway is None or not gateway.process.alive:
            raise ConnectionRefusedError(url)
        wire = Wire(self._network, self._process, gateway)
        gateway.process.start(wire.serve(self._network.loop.time()))
        answer = await wire.receive()
        if isinstance(answer, Closed):
            raise ConnectionRefusedError(answer.reason)
        return wire


class MemoryWorkerTransport:
    """`WorkerTransport` of a gateway. Make it in the gateway's process."""

    def __init__(self, network: Network) -> None:
        process = current_process()
        assert process is not None
        self.connected = True
        self._process = process
        self._network = network

    async def request(
        self,
        method: str,
        url: str,
        body: bytes | None = None,
        params: Mapping[str, str] | None = None,
    ) -> tuple[int, bytes]:
        parts = urlsplit(url)
        await asyncio.sleep(self._network.latency(INNER_LATENCY))
        asked = self._network.workers.get(parts.netloc)
        if not self.connected or asked is None or not asked.process.alive:
            raise WorkersUnavailable(f"{url}: nobody is there")
        answer: asyncio.Future[tuple[int, bytes] | None] = self._network.loop.create_future()
        arrive = _Arrive(self._network, self._process.context.copy(), answer)
        asked.process.start(
            _answer(asked.worker, Request(parts.path, params or {}, body or b""), arrive)
        )
        asked.process.on_end[arrive.lost] = None
        try:
            found = await answer
        finally:
            asked.process.on_end.pop(arrive.lost, None)
        if found is None or not self.connected:
            raise WorkersUnavailable(f"{url}: the connection was lost")
        return found

    async def close(self) -> None: ...


class _Arrive(NamedTuple):
    """Brings an answer to who has asked."""

    network: Network
    context: Context
    answer: "asyncio.Future[tuple[int, bytes] | None]"

    def bring(self, found: tuple[int, bytes] | None) -> None:
        self.network.loop.call_later(
            self.network.latency(INNER_LATENCY), self._arrive, found, context=self.context
        )

    def lost(self) -> None:
        self.bring(None)

    def _arrive(self, found: tuple[int, bytes] | None) -> None:
        if not self.answer.done():
            self.answer.set_result(found)


async def _answer(worker: Worker, request: Request, arrive: _Arrive) -> None:
    response = await worker.api.handle(request)
    arrive.bring((response.status, response.body))
