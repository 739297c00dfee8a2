"""A proxy before a Kafka of one broker, which can answer as that broker does while it wakes up."""

import asyncio
import struct
from collections.abc import AsyncIterator

from tests.harness.proxy import Proxy

_METADATA, _FIND_COORDINATOR = 3, 10
_KNOWN = {_METADATA: range(9, 100), _FIND_COORDINATOR: range(3)}
"""Versions whose answers it can change. Of Metadata 9 and of FindCoordinator 3 lengths become
varints, and everything ends with tags."""


class KafkaProxy(Proxy):
    """Its clients come to the broker by it only: in answers about the cluster it puts its own port.
    While `names_no_broker` is true these answers name none, as those of a broker do that was paused
    for longer than its session. `named_coordinator`: it has told a group's coordinator. A client
    that speaks a version which it cannot change gets no answer, and the end of the block raises
    AssertionError."""

    def __init__(self, target: int) -> None:
        super().__init__(target)
        self.names_no_broker = False
        self.named_coordinator = False
        self._unknown = ""

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        assert not self._unknown, self._unknown

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self.target)
        self._writers |= {writer, back}
        asked: dict[int, int] = {}
        self._tasks.add(asyncio.create_task(self._requests(reader, back, asked)))
        self._tasks.add(asyncio.create_task(self._answers(there, writer, asked)))

    async def _requests(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, asked: dict[int, int]
    ) -> None:
        """`asked`: number → key of the requests about the cluster that are not answered yet."""
        async for frame in _frames(source):
            key, version, number = struct.unpack_from(">hhi", frame)
            if key in _KNOWN:
                if version not in _KNOWN[key]:
                    self._unknown = (
                        f"a client asks Kafka's API {key} in version {version}, and KafkaProxy can"
                        f" change answers of {_KNOWN[key]} only: teach it the new layout"
                        " (kafka.apache.org/protocol), or pin the client"
                    )
                    break
                asked[number] = key
            sink.write(_framed(frame))
        sink.close()
        self._writers.discard(sink)

    async def _answers(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, asked: dict[int, int]
    ) -> None:
        async for frame in _frames(source):
            (number,) = struct.unpack_from(">i", frame)
            key = asked.pop(number, None)
            if key == _METADATA:
                frame = self._changed(frame)
            elif key == _FIND_COORDINATOR and not frame.endswith(b"\xff\xff\xff\xff"):
                frame = frame[:-4] + struct.pack(">i", self.port)  # it ends with the port, or -1
                self.named_coordinator = True
            sink.write(_framed(frame))
        sink.close()
        self._writers.discard(sink)

    def _changed(self, answer: bytes) -> bytes:
        """Metadata that name this proxy as the only broker, or none."""
        start = 4 + 1 + 4  # the number, no tags, the throttle's time
        if answer[start] == 1:
            return answer  # the broker itself names none yet
        assert answer[start] == 2, f"{answer[start] - 1} brokers are named, and not one"
        at = start + 1 + 4  # its node id
        at += answer[at]  # its host, after a byte of its length plus 1
        if not self.names_no_broker:
            return answer[:at] + struct.pack(">i", self.port) + answer[at + 4 :]
        at += 4
        at += max(answer[at], 1)  # its rack, maybe null
        return answer[:start] + b"\x01" + answer[at + 1 :]  # no tags


async def _frames(source: asyncio.StreamReader) -> AsyncIterator[bytes]:
    try:
        while True:
            (size,) = struct.unpack(">i", await source.readexactly(4))
            yield await source.readexactly(size)
    except (asyncio.IncompleteReadError, OSError):
        return


def _framed(frame: bytes) -> bytes:
    return struct.pack(">i", len(frame)) + frame
