"""What devices are pushed is spoiled on a real stack, and the judge of devices says so. The devices
are bare sockets: the SDK would repair most of it."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from connectors.redis.client import RedisClient
from ops.audit.devices import Shown, judge_devices
from ops.audit.verdict import CLEAN, Verdict
from schemas.codec import encode_event, encode_frame
from schemas.events import SCHEMA_VERSION, DeliveryRecord, MessageDelivered
from schemas.frames import Message
from schemas.topics import DELIVERIES
from tests.harness import kafka
from tests.harness.device import connect_raw, told
from tests.harness.raw_socket import RawSocket
from tests.harness.stack import Stack
from tests.planted.pushes import PUSHES

pytestmark = pytest.mark.real


class Pair:
    """Alice, who writes, and bob with two devices."""

    def __init__(self, stack: Stack, name: str) -> None:
        self.stack = stack
        self.alice, self.bob = f"{name}-alice", f"{name}-bob"
        self.conversation = f"{self.alice}:{self.bob}"
        self.sockets: dict[str, list[RawSocket]] = {}
        """Device → its sockets, one after the other."""
        self.slot = 0
        self._written: dict[str, str] = {}

    async def join(self, user: str, device: str) -> None:
        socket = await connect_raw(self.stack, user, device)
        self.sockets.setdefault(f"{user}/{device}", []).append(socket)

    async def write(self, ordinal: int) -> None:
        """Alice writes a message, and hears that it is sent."""
        key = f"{ordinal:032x}"
        self._written[key] = f"message {ordinal}"
        fields = {"outbox": "0f" * 16, "ordinal": ordinal, "key": key, "body": self._written[key]}
        socket = self.sockets[f"{self.alice}/one"][0]
        await socket.send(json.dumps({"t": "send", "to": self.bob, **fields}).encode())
        await socket.until(f'"key":"{key}"'.encode())

    async def pushed(self, device: str, seq: int) -> None:
        """Wait until a device of bob has been pushed this number."""
        await self.sockets[f"{self.bob}/{device}"][-1].until(f'"seq":{seq},'.encode())

    def forge(self, seq: int, key: str, body: str) -> None:
        """Bob's devices are delivered a message that the sequencer has not made."""
        frame = encode_frame(Message(self.conversation, seq, self.alice, key, 1, body))
        event = MessageDelivered(self.conversation, seq, self.alice, "one", [self.bob], frame)
        record = encode_event(DeliveryRecord(SCHEMA_VERSION, [event]))
        kafka.produce(self.stack, DELIVERIES, self.slot, record)

    def verdict(self) -> Verdict:
        """What the judge says of what bob's devices were pushed."""
        verdict = Verdict()
        accepted = [
            Shown(frame["conversation"], frame["seq"], frame["key"], self._written[frame["key"]])
            for frame in self._frames(f"{self.alice}/one", "sent")
        ]
        devices = {
            device: [
                Shown(frame["conversation"], frame["seq"], frame["key"], frame["body"])
                for frame in self._frames(device, "message")
            ]
            for device in (f"{self.bob}/one", f"{self.bob}/two")
        }
        judge_devices(accepted, devices, verdict)
        return verdict

    def _frames(self, device: str, kind: str) -> list[dict[str, Any]]:
        sockets = self.sockets[device]
        return [frame for socket in sockets for frame in told(socket) if frame["t"] == kind]


@pytest.fixture
async def pair(spare: Stack, request: pytest.FixtureRequest) -> AsyncIterator[Pair]:
    made = Pair(spare, f"p{list(PLANTS).index(request.node.callspec.params['fault'])}")
    redis = RedisClient(spare.redis)
    held = [slot for slot in range(8) if await redis.command("GET", f"slot:{slot}")]
    await redis.close()
    (made.slot,) = held
    for user, device in ((made.alice, "one"), (made.bob, "one"), (made.bob, "two")):
        await made.join(user, device)
    for ordinal in (1, 2, 3):
        await made.write(ordinal)
    for device in ("one", "two"):
        await made.pushed(device, 3)
    yield made
    for sockets in made.sockets.values():
        for socket in sockets:
            await socket.close()


async def changed_body(pair: Pair) -> None:
    pair.forge(4, f"{4:032x}", "other")
    await pair.pushed("two", 4)
    await pair.write(4)


async def dedupe_off(pair: Pair) -> None:
    pair.forge(4, f"{3:032x}", "message 3")
    await pair.pushed("two", 4)


async def swapped(pair: Pair) -> None:
    pair.forge(5, f"{5:032x}", "message 5")
    await pair.pushed("two", 5)
    await pair.write(4)
    await pair.write(5)


async def counter_ahead(pair: Pair) -> None:
    pair.forge(9, f"{9:032x}", "message 9")
    await pair.pushed("two", 9)


async def second_numbering(pair: Pair) -> None:
    """Bob's device comes again, and is pushed number 1 once more, for another message."""
    await pair.join(pair.bob, "two")
    pair.forge(1, f"{4:032x}", "message 4")
    await pair.pushed("two", 1)


async def repeated_with_other_content(pair: Pair) -> None:
    await pair.join(pair.bob, "two")
    pair.forge(3, f"{3:032x}", "other")
    await pair.pushed("two", 3)


async def pushed_again(pair: Pair) -> None:
    await pair.join(pair.bob, "two")
    pair.forge(3, f"{3:032x}", "message 3")
    await pair.pushed("two", 3)


async def dropped(pair: Pair) -> None:
    """Nobody finds bob's second device, as if its route had never been written."""
    redis = RedisClient(pair.stack.redis)
    await redis.command("HDEL", f"routes:{pair.bob}", "two")
    await redis.close()
    await pair.sockets[f"{pair.bob}/two"][-1].close()
    await pair.write(4)
    await pair.pushed("one", 4)


PLANTS: dict[str, Callable[[Pair], Awaitable[None]]] = {
    "a changed body": changed_body,
    "dedupe is off": dedupe_off,
    "a swapped pair": swapped,
    "a counter ahead": counter_ahead,
    "a hole": counter_ahead,
    "a second numbering": second_numbering,
    "a repeated push with other content": repeated_with_other_content,
    "a repeated push": pushed_again,
    "a dropped push, or a cut tail": dropped,
}


@pytest.mark.parametrize("fault", PUSHES)
async def test_the_judge_of_devices_finds_what_is_planted(pair: Pair, fault: str) -> None:
    assert pair.verdict().lines() == [CLEAN]
    await PLANTS[fault](pair)
    await asyncio.sleep(0.3)  # a push that must not come would have come
    finding = PUSHES[fault].finding(f"{pair.bob}/two", pair.conversation)
    assert finding in pair.verdict().findings
