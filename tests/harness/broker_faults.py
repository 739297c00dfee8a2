"""What happens to the brokers and workers of a stack of three brokers while people talk, and how
long it is dark: the longest time in which one of the conversations got no message through."""

import asyncio
import json
import secrets
import signal
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial

from connectors.redis.client import RedisClient
from schemas import topics
from schemas.codes import Code
from schemas.ids import partition_of
from tests.harness.brokers import Brokers, full
from tests.harness.device import connect_raw, told
from tests.harness.load import Load
from tests.harness.stack import Stack
from tests.harness.talk import Talk

PARTITIONS = 4
STILL_SECONDS = 4.5
"""How long a broker or a worker stands still: longer than any session, and than clients wait for an
answer."""
AWAY_SECONDS = 6.0
"""How long two brokers are away: longer than a gateway keeps a message."""
REFUSED_SECONDS = 6.0
"""How soon a gateway says that it cannot take a message now."""
_SMALL_MIB = 256
_ELSEWHERE_SECONDS = 60.0
_LOOK_SECONDS = 0.02

TOPICS = (
    topics.SUBMITTED,
    topics.LOG,
    topics.DELIVERIES,
    topics.RECEIPTS,
    topics.CURSORS,
    topics.PRESENCE_SUBMITTED,
    topics.PRESENCE,
    topics.MEMBERSHIPS,
    topics.PEOPLE_SUBMITTED,
    topics.PEOPLE,
    topics.DEAD_LETTERS,
)


class Scene:
    """One fault, some rounds of it: people of its own on a stack that others share. `round` counts
    from 0."""

    def __init__(self, stack: Stack, talk: Talk, load: Load) -> None:
        self.stack = stack
        self.brokers = Brokers(stack)
        self.talk = talk
        self.load = load
        self.round = 0

    def leader(self) -> int:
        """A broker that leads a partition of the input and is not the active controller."""
        found, controller = self.brokers.partitions(), self.brokers.controller()
        leaders = [found[topics.SUBMITTED, number].leader for number in range(PARTITIONS)]
        turned = leaders[self.round % PARTITIONS :] + leaders[: self.round % PARTITIONS]
        return next((one for one in turned if one != controller), turned[0])

    async def slot(self) -> int:
        """A slot that a gateway has."""
        redis = RedisClient(self.stack.redis)
        try:
            keys = await redis.command("KEYS", "slot:*")
        finally:
            await redis.close()
        slots = sorted(int(key.decode().removeprefix("slot:")) for key in keys)
        return slots[self.round % len(slots)]

    async def whole_again(self) -> float:
        """Wait until all brokers have everything and everybody is served; how long it was dark
        since the last look."""
        await self.brokers.whole()
        return await self.load.dark()

    async def served(self, conversations: Iterable[str], timeout: float) -> float:
        """Wait until each of them gets another message through; for how many seconds the last
        waited."""
        began, seen = time.monotonic(), dict(self.talk.last)
        waiting = set(conversations)
        while waiting:
            waiting = {name for name in waiting if self.talk.last[name] == seen[name]}
            if time.monotonic() > began + timeout:
                pages = [await asyncio.to_thread(self.stack.sequencer, n) for n in range(2)]
                raise AssertionError(f"{waiting} are not served for {timeout} s: {pages}")
            await asyncio.sleep(_LOOK_SECONDS)
        return time.monotonic() - began


Fault = Callable[[Scene], Awaitable[float]]
"""Lets it happen and undoes it; returns how long it was dark, in seconds. What it leaves is whole
again."""


async def kill_leader(scene: Scene) -> float:
    scene.brokers.kill(await asyncio.to_thread(scene.leader))
    await scene.brokers.missed()
    return await scene.whole_again()


async def kill_controller(scene: Scene) -> float:
    scene.brokers.kill(scene.brokers.controller())
    await scene.brokers.missed()
    return await scene.whole_again()


async def pause_leader(scene: Scene) -> float:
    return await _pause(scene, await asyncio.to_thread(scene.leader))


async def pause_controller(scene: Scene) -> float:
    return await _pause(scene, scene.brokers.controller())


async def _pause(scene: Scene, number: int) -> float:
    scene.brokers.pause(number)
    await asyncio.sleep(STILL_SECONDS)
    scene.brokers.wake(number)
    return await scene.whole_again()


async def kill_two(scene: Scene) -> float:
    for number in _two(scene):
        scene.brokers.kill(number)
    await scene.brokers.missed()
    return await scene.whole_again()


async def two_away(scene: Scene) -> float:
    """Meanwhile writes are refused, and a device is told so; dark counts from the return on."""
    two = _two(scene)
    device = await connect_raw(scene.stack, scene.talk.user(f"refused{scene.round}"))
    for number in two:
        scene.brokers.pause(number)
    gone = time.monotonic()
    try:
        frame = {
            "t": "send",
            "to": scene.talk.user("nobody"),
            "outbox": secrets.token_hex(16),
            "ordinal": 1,
            "key": secrets.token_hex(16),
            "body": "is anybody there?",
        }
        await device.send(json.dumps(frame).encode())
        async with asyncio.timeout(REFUSED_SECONDS):
            await device.until(b'"error"')
        refusal = next(one for one in told(device) if one["t"] == "error")
        assert refusal["code"] == Code.TRY_LATER.number, refusal
        print(f"refused after {time.monotonic() - gone:.1f} s")
        await asyncio.sleep(gone + AWAY_SECONDS - time.monotonic())
    finally:
        for number in two:
            scene.brokers.wake(number)
        await device.close()
    dark = await scene.served(scene.talk.last, 60)
    await scene.whole_again()
    return dark


def _two(scene: Scene) -> list[int]:
    numbers = scene.brokers.numbers
    return [numbers[(scene.round + one) % len(numbers)] for one in range(2)]


async def fill_disk(scene: Scene) -> float:
    """A broker on a small disk, of which nothing is left; Kafka ends then, and its supervisor
    starts it again and again, until there is room."""
    number = await asyncio.to_thread(scene.leader)
    name = scene.brokers.name(number)
    scene.brokers.lose_disk(number, _SMALL_MIB)
    try:
        await scene.brokers.missed()
        await scene.whole_again()
        pid = scene.stack.parts()[name]["pid"]
        with full(scene.brokers.data(number)):
            async with asyncio.timeout(60):
                while scene.stack.parts()[name]["pid"] == pid:
                    await asyncio.sleep(0.1)
            await asyncio.sleep(STILL_SECONDS)
        return await scene.whole_again()
    finally:
        scene.brokers.lose_disk(number)
        await scene.brokers.missed()
        await scene.whole_again()


async def lose_disk(scene: Scene) -> float:
    scene.brokers.lose_disk(await asyncio.to_thread(scene.leader))
    await scene.brokers.missed()
    return await scene.whole_again()


async def lose_leader(topic: str, scene: Scene) -> float:
    """One partition of a topic is on one broker only, which stands still. Dark are the other
    partitions, until they have other leaders. Of `deliveries` it is a gateway's slot, and dark is
    everybody, until the gateway has another slot."""
    slot = topic == topics.DELIVERIES
    partition = await scene.slot() if slot else scene.round % PARTITIONS
    number = await asyncio.to_thread(scene.brokers.leader, topic, partition)
    await scene.brokers.move(topic, partition, [number])
    await scene.load.dark()
    known = set(scene.talk.last)
    others = [name for name in known if slot or partition_of(name, PARTITIONS) != partition]
    scene.brokers.pause(number)
    paused = time.monotonic()
    begun = _begin_conversations(scene)
    try:
        await asyncio.sleep(0.5)
        dark = 0.5 + await scene.served(others, _ELSEWHERE_SECONDS)
        while time.monotonic() < paused + STILL_SECONDS:
            await scene.served(others, _ELSEWHERE_SECONDS)
        leader = await asyncio.to_thread(scene.brokers.leader, topic, partition)
        assert leader < 0, f"{topic}/{partition} is led by {leader}"
    finally:
        scene.brokers.wake(number)
    await scene.brokers.whole()
    await asyncio.gather(*begun)
    scene.talk.last = {name: last for name, last in scene.talk.last.items() if name in known}
    await scene.brokers.move(topic, partition, scene.brokers.numbers)
    await scene.whole_again()
    return dark


def _begin_conversations(scene: Scene) -> list[asyncio.Task[None]]:
    """Everybody writes to a stranger once. What a first message needs is said elsewhere first."""
    return [
        scene.talk.begin(client, f"stranger{scene.round}-{place}", f"hello {scene.round} {place}")
        for place, client in enumerate(scene.talk.clients.values())
    ]


async def kill_worker(scene: Scene) -> float:
    scene.stack.kill(f"worker-{scene.round % 2 + 1}")
    await asyncio.sleep(1.0)
    dark = await scene.load.dark()
    await asyncio.to_thread(scene.stack.wait_healthy)
    return max(dark, await scene.load.dark())


async def pause_worker(scene: Scene) -> float:
    worker = f"worker-{scene.round % 2 + 1}"
    scene.stack.kill(worker, signal.SIGSTOP)
    await asyncio.sleep(STILL_SECONDS)
    scene.stack.kill(worker, signal.SIGCONT)
    await asyncio.to_thread(scene.stack.wait_healthy)
    return await scene.load.dark()


_FULL = f"the disk of a broker is full for some {STILL_SECONDS} s"
_UNLED = {
    f"a partition of `{topic}` has no leader (dark: {dark})": partial(lose_leader, topic)
    for topic in TOPICS
    for dark in ["everybody" if topic == topics.DELIVERIES else "the others"]
}
FAULTS: Mapping[str, Fault] = {
    "a broker that leads is killed": kill_leader,
    "the active controller is killed": kill_controller,
    f"a broker that leads stands still for {STILL_SECONDS} s": pause_leader,
    f"the active controller stands still for {STILL_SECONDS} s": pause_controller,
    "two brokers are killed at once": kill_two,
    f"two brokers are away for {AWAY_SECONDS} s (dark: since their return)": two_away,
    _FULL: fill_disk,
    "a broker loses its disk": lose_disk,
    **_UNLED,
    "a worker is killed": kill_worker,
    f"a worker stands still for {STILL_SECONDS} s": pause_worker,
}
NEED_MOUNT = frozenset({_FULL})
"""Of these, what needs a file system of its own."""
SELDOM = frozenset({_FULL, *_UNLED})
"""Of these, what takes half a minute, or has many likes."""
