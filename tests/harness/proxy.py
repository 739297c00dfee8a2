"""A TCP proxy before a real service, to break connections as networks break them."""

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from typing import Self


class Proxy:
    """Forwards 127.0.0.1:`port` to `target` (a port of this machine), in a thread of its own. Use
    it as a context manager."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = 0
        self.accepted = 0
        self._late = 0.0
        self._loop = asyncio.new_event_loop()
        self._forwards = asyncio.Event()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._ready, self._end = threading.Event(), asyncio.Event()

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._do(self._end.set)
        self._thread.join(10)

    def reset(self) -> None:
        """Send RST to both ends of every connection, as a router does that has forgotten them."""
        self._do(self._reset)

    def vanish(self) -> None:
        """Forward nothing more on the connections there are: they are half-open. New ones work."""
        self._do(self._vanish)

    def pause(self) -> None:
        """Hold up everything, also on new connections, until `resume`."""
        self._do(self._forwards.clear)

    def resume(self) -> None:
        """Forward what was held up."""
        self._do(self._forwards.set)

    def answer_late(self, seconds: float) -> None:
        """From now on answers come so much later."""
        self._late = seconds

    def _do(self, what: Callable[[], None]) -> None:
        async def act() -> None:
            what()

        asyncio.run_coroutine_threadsafe(act(), self._loop).result(10)

    # In the thread

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        self._forwards.set()
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._end.wait()
        server.close()
        self._reset()

    def _reset(self) -> None:
        for writer in self._writers:
            raw = writer.get_extra_info("socket")
            with contextlib.suppress(OSError):  # it has closed meanwhile
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        self._writers.clear()

    def _vanish(self) -> None:
        for task in self._tasks:
            task.cancel()
        self._tasks.clear()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, back}
        for source, sink, answers in ((reader, back, False), (there, writer, True)):
            self._tasks.add(asyncio.create_task(self._forward(source, sink, answers)))

    async def _forward(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, answers: bool
    ) -> None:
        try:
            while data := await source.read(65536):
                if answers and self._late:
                    await asyncio.sleep(self._late)
                await self._forwards.wait()
                sink.write(data)
                await sink.drain()
            sink.close()
        except OSError:
            sink.transport.abort()
        self._writers.discard(sink)
