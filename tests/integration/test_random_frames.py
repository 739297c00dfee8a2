"""30,000 random frames leave the gateway serving: each answer has its number, nobody else notices,
nothing is left behind."""

import asyncio
import json
import random
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from schemas import frames
from schemas.codec import split_frames
from schemas.codes import Close, Code
from tests.harness.device import token_of
from tests.harness.noise import SECRET, Message, Noise
from tests.harness.raw_socket import RawSocket
from tests.harness.stack import Stack
from tests.harness.talk import Talk

pytestmark = pytest.mark.real
FRAMES = 30_000
DEVICES = 8
MAX_GROWTH_KIB = 64 * 1024
"""What the node may grow by: buffers of its sockets, routes and counters, and what librdkafka
keeps."""
MAX_GAP_SECONDS = 2.0
TOO_BIG = 1009
FIELDS = {"t"} | {
    field.encode_name
    for command in get_args(frames.Command)
    for field in msgspec.structs.fields(command)
}
_server_frame = msgspec.json.Decoder(frames.ServerFrame)


class Wild:
    """A device gone wild; `tally` is what it was told."""

    def __init__(self, stack: Stack, number: int, tally: Counter[str]) -> None:
        user = f"wild-{number}"
        self._url = stack.gateway_urls[0]
        self._chance = random.Random(number)
        self._tally = tally
        others = [f"wild-{other}" for other in range(DEVICES) if other != number]
        self._noise = Noise(self._chance, user, token_of(stack, user), others)

    async def rage(self, count: int) -> None:
        """Send so many frames, over as many sockets as it takes."""
        while count > 0:
            socket = await RawSocket.connect(self._url)
            try:
                count -= await self._session(socket, count)
            finally:
                await socket.close()

    async def _session(self, socket: RawSocket, most: int) -> int:
        """One socket's life; how many frames it has sent."""
        count = 0
        for _ in range(self._chance.choice([0, 0, 0, 0, 0, 1, 3])):
            await socket.send(self._noise.message().payload)  # before hello
            count += 1
        await socket.send(self._noise.hello())
        if self._chance.random() < 0.8:
            await socket.until(b'"welcome"')
        count += 1
        wild: Message | None = None
        if self._chance.random() < 0.1:
            for _ in range(3):  # so many that they are read in turns
                await socket.send(b"\n".join([b'{"t":"ping","id":1}'] * frames.MAX_FRAMES))
        for _ in range(self._chance.randrange(1, 60)):
            if socket.closed.is_set() or count >= most or (wild and wild.fatal):
                break
            wild = self._noise.message()
            await socket.send(wild.payload, wild.kind, wild.cuts, wild.ping_between)
            count += wild.frames
        await self._leave(socket, wild)
        return count

    async def _leave(self, socket: RawSocket, last: Message | None) -> None:
        """A last question, so that whatever came before it has been answered. It is answered, or
        the socket is closed. It waits behind what its user has sent."""
        if last is not None and last.fatal:
            async with asyncio.timeout(60):
                await socket.closed.wait()
        await socket.send(b'{"t":"ping","id":777777}')
        await socket.until(b'"id":777777')
        for message in socket.received:
            for line in split_frames(message):
                self._judge(line)
        if socket.closed.is_set():
            close = Close.of(socket.code)
            assert close is not None or socket.code == TOO_BIG, (
                f"closed with {socket.code} after {last}"[:300]
            )
            assert close is not Close.INTERNAL
            self._tally[f"close {socket.code}"] += 1

    def _judge(self, line: bytes) -> None:
        frame = _server_frame.decode(line)
        self._tally[type(frame).__name__] += 1
        if isinstance(frame, frames.Error):
            code = Code.of(frame.code)
            assert code is not None, line
            text, _, field = frame.reason.partition(": ")
            if code is Code.BAD_FIELD and field:
                assert field in FIELDS, frame  # and nothing of what the device has sent
                assert text == code.text
            else:
                assert frame.reason == code.text
            assert frame.retry == code.retry
            self._tally[code.name] += 1
        elif isinstance(frame, frames.Refused):
            assert Code.of(frame.code) is not None, line


def rage(wild: list[Wild], count: int) -> None:
    """All at once, in a thread of their own: making so much noise takes time, too."""

    async def all_of_them() -> None:
        await asyncio.gather(*(device.rage(count // len(wild)) for device in wild))

    asyncio.run(all_of_them())


async def talk_on(talk: Talk, stop: asyncio.Event) -> int:
    """Two who behave, all the time; how many messages they sent."""
    alice, bob = await talk.join("alice"), await talk.join("bob")
    number = 0
    while not stop.is_set():
        number += 1
        await asyncio.gather(
            talk.begin(alice, "bob", f"a {number}"), talk.begin(bob, "alice", f"b {number}")
        )
        await asyncio.sleep(0.01)
    return number * 2


async def test_random_frames_leave_it_serving(spare: Stack) -> None:
    earlier = {part: len(spare.log(part)) for part in spare.parts()}
    url = spare.gateway_urls[0]
    tally: Counter[str] = Counter()
    wild = [Wild(spare, number, tally) for number in range(DEVICES)]
    async with Talk(spare, "behaved") as talk:
        stop = asyncio.Event()
        talking = asyncio.create_task(talk_on(talk, stop))
        await asyncio.to_thread(rage, wild, 200 * DEVICES)  # it has all it needs once
        before = resident_kib(spare)
        await asyncio.to_thread(rage, wild, FRAMES)
        stop.set()
        said = await asyncio.wait_for(talking, 60)
        await talk.settle()
        assert talk.verdict().lines() == ["dense, once, in order, equal everywhere"]
        assert talk.longest_gap < MAX_GAP_SECONDS, "the others were held up"
    grown = resident_kib(spare) - before
    print(dict(sorted(tally.items())))
    print(
        f"beside it {said} messages, gaps of at most {talk.longest_gap:.2f} s; grown by {grown} KiB"
    )
    assert grown < MAX_GROWTH_KIB
    for name in (
        "Welcome",
        "Sent",
        "Refused",
        "OutOfStep",
        "Message",
        "Heads",
        "Page",
        "Pong",
        "close 1009",
    ):
        assert tally[name], f"the noise never led to {name}"
    for name in (
        "BAD_FRAME",
        "UNKNOWN_FRAME",
        "OUT_OF_STATE",
        "BAD_FIELD",
        "NOT_A_MEMBER",
    ):
        assert tally[name], f"the noise never led to {name}"
    for close in (
        Close.UNAUTHORIZED,
        Close.VERSION_UNSUPPORTED,
        Close.BAD_PROTOCOL,
        Close.NOT_TEXT,
    ):
        assert tally[f"close {close.number}"], f"the noise never led to {close.name}"
    await asyncio.to_thread(nested_login, url)
    with await asyncio.to_thread(urllib.request.urlopen, f"{url}/health", timeout=5) as answer:
        assert json.load(answer)["healthy"]
    assert await asyncio.to_thread(spare.unhealthy) == {}
    for part in spare.parts():
        log = spare.log(part)[earlier[part] :]
        assert SECRET not in log, f"a message body in the log of {part}"
        if part.startswith(("gateway", "worker")):
            assert "Traceback" not in log, f"{part}: {log[log.index('Traceback') - 500 :][:3000]}"


def nested_login(url: str) -> None:
    request = urllib.request.Request(
        f"{url}/v1/login",
        b'{"user":' + b"[" * 5000,
        {"Content-Type": "application/json"},
        method="POST",
    )
    with pytest.raises(urllib.error.HTTPError, match=r"400|403"):
        urllib.request.urlopen(request, timeout=5)


def resident_kib(stack: Stack) -> int:
    """The gateway's memory."""
    part = next(name for name in stack.parts() if name.startswith("gateway"))
    status = Path(f"/proc/{stack.parts()[part]['pid']}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
