"""The port of recent windows: one suite, in memory and on a real Redis."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable

import pytest

from connectors.redis.client import RedisClient, RedisUnavailable
from connectors.redis.memory_recent import MemoryRecentWindows
from connectors.redis.memory_server import MemoryRedis, MemoryRedisServer
from connectors.redis.recent import (
    SLACK_MESSAGES,
    WINDOW_BYTES,
    WINDOW_MESSAGES,
    RecentWindows,
    RedisRecentWindows,
    Window,
)

SECONDS = 0.4
"""In tests of the time to live. The others must not end with it on a busy machine."""
A, B = "alice:bob", "bob:carol"


class Server:
    """A Redis, real or in memory: ports of numberings, and what an operator does to it."""

    def __init__(self, redis: RedisClient | None) -> None:
        self._redis = redis
        self._memory = MemoryRedisServer(time.monotonic)

    def windows(self, log_id: str = "log", seconds: float = 600.0) -> RecentWindows:
        if self._redis is None:
            return MemoryRecentWindows(MemoryRedis(self._memory), log_id, seconds)
        return RedisRecentWindows(self._redis, log_id, seconds)

    async def wipe(self) -> None:
        if self._redis is None:
            self._memory.wipe()
        else:
            await self._redis.command("FLUSHALL")


@pytest.fixture(params=["memory", "redis"])
def server(request: pytest.FixtureRequest, redis: RedisClient) -> Server:
    return Server(None if request.param == "memory" else redis)


def frame(seq: int, size: int = 0) -> bytes:
    return b'{"seq":%d,"body":"%s"}' % (seq, b"x" * size)


def window(first: int, last: int, size: int = 0) -> Window:
    return Window(first, [frame(seq, size) for seq in range(first, last + 1)])


async def read(windows: RecentWindows, conversation: str = A) -> tuple[int, int] | None:
    """(first, last) of a window, whose frames are those that were written."""
    found = await windows.read(conversation)
    if found is None:
        return None
    assert all(b'"seq":%d,' % seq in one for seq, one in enumerate(found.frames, found.first))
    return found.first, found.last


async def test_a_window_that_was_written_is_read(server: Server) -> None:
    windows = server.windows()
    assert await read(windows) is None
    await windows.keep({A: window(3, 5), B: window(1, 1)}, {})
    assert await windows.read(A) == Window(3, [frame(3), frame(4), frame(5)])
    assert await read(windows, B) == (1, 1)
    await windows.keep({A: window(90, 120)}, {})
    assert await read(windows) == (90, 120)


async def test_what_follows_is_added_and_nothing_else(server: Server) -> None:
    windows = server.windows()
    await windows.keep({A: window(3, 5)}, {})
    await windows.keep({}, {A: window(6, 7), B: window(1, 1)})
    assert await read(windows) == (3, 7)
    assert await read(windows, B) is None
    await windows.keep({}, {A: window(2, 7)})
    await windows.keep({}, {A: window(9, 9)})
    assert await read(windows) == (3, 7)
    await windows.keep({}, {A: window(6, 9)})
    assert await read(windows) == (3, 9)
    await windows.keep({B: window(1, 1)}, {A: window(10, 10), B: window(2, 2)})
    assert (await read(windows), await read(windows, B)) == ((3, 10), (1, 2))


async def test_a_call_that_comes_again_changes_nothing(server: Server) -> None:
    windows = server.windows()
    for _ in range(2):
        await windows.keep({A: window(3, 5)}, {})
    for _ in range(2):
        await windows.keep({}, {A: window(6, 7)})
    assert await read(windows) == (3, 7)


async def test_of_many_messages_the_newest_stay(server: Server) -> None:
    windows = server.windows()
    await windows.keep({A: window(1, WINDOW_MESSAGES + 50)}, {})
    assert await read(windows) == (51, WINDOW_MESSAGES + 50)
    last = WINDOW_MESSAGES + 50
    for _ in range(3 * SLACK_MESSAGES):
        last += 1
        await windows.keep({}, {A: window(last, last)})
        found = await read(windows)
        assert found is not None
        assert found[1] == last
        assert WINDOW_MESSAGES <= last - found[0] + 1 <= WINDOW_MESSAGES + SLACK_MESSAGES
    await windows.keep({}, {A: window(last + 1, last + 2 * WINDOW_MESSAGES)})
    assert await read(windows) == (last + WINDOW_MESSAGES + 1, last + 2 * WINDOW_MESSAGES)


async def test_of_large_messages_few_stay_and_at_least_one(server: Server) -> None:
    windows = server.windows()
    await windows.keep({A: window(1, 12, 16_000)}, {})
    found = await windows.read(A)
    assert found is not None
    assert found.last == 12
    assert WINDOW_BYTES - 17_000 < sum(map(len, found.frames)) <= WINDOW_BYTES
    await windows.keep({}, {A: window(13, 13, 16_000)})
    assert await read(windows) == (found.first + 1, 13)
    await windows.keep({}, {A: window(14, 14, 2 * WINDOW_BYTES)})
    assert await read(windows) == (14, 14)


async def test_a_window_lives_as_long_as_it_is_read(server: Server) -> None:
    windows = server.windows(seconds=SECONDS)
    await windows.keep({A: window(1, 2), B: window(1, 2)}, {})
    for seq in (3, 4, 5):
        await asyncio.sleep(SECONDS / 2)
        await windows.keep({}, {A: window(seq, seq), B: window(seq, seq)})
        assert await read(windows) == (1, seq)
    assert await read(windows, B) is None
    await asyncio.sleep(SECONDS * 1.25)
    assert await read(windows) is None


async def test_a_window_of_another_numbering_is_none(server: Server) -> None:
    await server.windows("another").keep({A: window(1, 5)}, {})
    windows = server.windows()
    assert await read(windows) is None
    await windows.keep({}, {A: window(6, 6)})
    assert await read(windows) is None
    assert await read(server.windows("another")) == (1, 5)


async def test_a_window_that_is_forgotten_or_wiped_is_gone(server: Server) -> None:
    windows = server.windows()
    await windows.keep({A: window(1, 2), B: window(1, 2)}, {})
    await windows.forget([])
    await windows.forget([A, "bob:dave"])
    assert (await read(windows), await read(windows, B)) == (None, (1, 2))
    await server.wipe()
    assert await read(windows, B) is None
    await windows.keep({}, {B: window(3, 3)})
    assert await read(windows, B) is None


async def test_numbers_may_be_large(server: Server) -> None:
    windows = server.windows()
    last = 2**53 - 1
    await windows.keep({A: window(last - 3, last - 1)}, {})
    await windows.keep({}, {A: window(last, last)})
    assert await read(windows) == (last - 3, last)


@pytest.mark.parametrize("value", [b"", b"\n", b"1 2\n{}\n", b"x y\n{}\n", b"1\n{}\n", b"{}"])
async def test_what_nobody_here_has_written_is_no_window(redis: RedisClient, value: bytes) -> None:
    windows = RedisRecentWindows(redis, "log")
    await redis.command("SET", f"recent:log:{A}", value)
    assert await windows.read(A) is None
    await windows.keep({}, {A: window(1, 3)})
    assert await windows.read(A) is None


async def test_a_redis_that_may_evict_and_is_full_loses_windows_and_answers(
    redis: RedisClient,
) -> None:
    windows = RedisRecentWindows(redis, "log")
    used = int(str(await redis.command("INFO", "memory")).split("used_memory:")[1].split("\\")[0])
    await redis.command("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    await redis.command("CONFIG", "SET", "maxmemory", used + 2_000_000)
    try:
        names = [f"alice:bob{n}" for n in range(100)]
        for name in names:
            await windows.keep({name: window(1, 100, 1_000)}, {})
        for name in names:
            await windows.keep({}, {name: window(101, 101)})
        found = [await read(windows, name) for name in names]
        assert None in found
        assert set(found) <= {None, (1, 101)}
    finally:
        await redis.command("CONFIG", "SET", "maxmemory", 0)
        await redis.command("CONFIG", "SET", "maxmemory-policy", "noeviction")


async def test_a_full_redis_that_evicts_nothing_says_so_and_still_answers(
    redis: RedisClient,
) -> None:
    windows = RedisRecentWindows(redis, "log")
    await windows.keep({A: window(1, 3)}, {})
    await redis.command("CONFIG", "SET", "maxmemory", 1)
    try:
        with pytest.raises(RedisUnavailable):
            await windows.keep({B: window(1, 3)}, {})
        assert await read(windows) == (1, 3)
    finally:
        await redis.command("CONFIG", "SET", "maxmemory", 0)


def _calls(windows: RecentWindows) -> Iterable[Callable[[], Awaitable[object]]]:
    yield lambda: windows.read(A)
    yield lambda: windows.keep({A: window(1, 2)}, {})
    yield lambda: windows.forget([A])


async def test_redis_away_is_said_so() -> None:
    client = RedisClient("redis://127.0.0.1:1/0")
    memory = MemoryRedis(MemoryRedisServer(time.monotonic))
    memory.connected = False
    for windows in (RedisRecentWindows(client, "log"), MemoryRecentWindows(memory, "log")):
        for call in _calls(windows):
            with pytest.raises(RedisUnavailable):
                await call()
    await client.close()
