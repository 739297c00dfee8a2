"""Steady load for chaos: pairs that talk all the time, so that whatever is killed is killed in the
middle of something."""

import asyncio
import contextlib
import itertools
from collections.abc import Iterator

from messenger_sdk import Client
from schemas.ids import partition_of
from tests.harness.talk import Talk

PAIRS = 8
_PAUSE_SECONDS = 0.02


def prefixes(partitions: int) -> Iterator[str]:
    """Prefixes of talks in which the pairs of `Load` have conversations in every partition."""
    for number in itertools.count():
        prefix = f"t{number}"
        found = {
            partition_of(f"{prefix}-a{pair}:{prefix}-b{pair}", partitions) for pair in range(PAIRS)
        }
        if len(found) == partitions:
            yield prefix


class Load:
    """`start` it, do something terrible, `stop` it: it returns when everything that was said is
    sent. Each of the sixteen says something every `pause_seconds`."""

    def __init__(self, talk: Talk, pause_seconds: float = _PAUSE_SECONDS) -> None:
        self._talk = talk
        self._pause = pause_seconds
        self._stopping = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self.said = 0

    async def start(self) -> None:
        pairs = [(f"a{number}", f"b{number}") for number in range(PAIRS)]
        pairs += [(bob, alice) for alice, bob in pairs]
        joined = await asyncio.gather(*(self._talk.join(name) for name, _ in pairs))
        for client, (name, to) in zip(joined, pairs, strict=True):
            self._tasks.append(asyncio.create_task(self._speak(client, name, to)))

    async def stop(self, timeout: float = 90) -> None:
        self._stopping.set()
        async with asyncio.timeout(timeout):
            await asyncio.gather(*self._tasks)

    async def cancel(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def sent(self, more: int, timeout: float = 60) -> None:
        """Wait until so many more messages have been sent."""
        target = len(self._talk.accepted) + more
        async with asyncio.timeout(timeout):
            while len(self._talk.accepted) < target:
                await asyncio.sleep(0.02)

    async def dark(self, timeout: float = 90) -> float:
        """Wait until every conversation is served again; the longest time in seconds that one of
        them was not."""
        await self.sent(PAIRS * 2, timeout)
        waiting = set(self._talk.last)
        seen = dict(self._talk.last)
        async with asyncio.timeout(timeout):
            while waiting:
                waiting = {name for name in waiting if self._talk.last[name] == seen[name]}
                await asyncio.sleep(0.05)
        longest, self._talk.longest_gap = self._talk.longest_gap, 0.0
        return longest

    async def _speak(self, client: Client, name: str, to: str) -> None:
        number = 0
        sending: set[asyncio.Task[None]] = set()
        while not self._stopping.is_set():
            number += 1
            self.said += 1
            task = self._talk.begin(client, to, f"{name} {number}")
            sending.add(task)
            task.add_done_callback(sending.discard)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._pause):
                    await self._stopping.wait()
        await asyncio.gather(*sending)
