"""A node reads and keeps windows of recent messages: pages and deliveries feed them, within bounds,
and Redis' trouble is nobody's."""

import asyncio
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

import gateway.queries.recent as recent
from connectors.redis.memory_recent import MemoryRecentWindows
from connectors.redis.memory_server import MemoryRedis, MemoryRedisServer
from connectors.redis.recent import WINDOW_MESSAGES, Window
from gateway.queries.recent import AWAY_SECONDS, GRID_SECONDS, RecentPages, window_of
from schemas.events import MessageDelivered
from tests.harness.virtual import virtual_time

A = "alice:bob"


def frames(first: int, last: int) -> dict[int, bytes]:
    return {seq: b"message %d" % seq for seq in range(first, last + 1)}


class Watched(MemoryRecentWindows):
    """Counts calls, and can be one whose server never answers."""

    def __init__(self, redis: MemoryRedis) -> None:
        super().__init__(redis, "log")
        self.calls = 0
        self.answers = True

    async def read(self, conversation: str) -> Window | None:
        await self._ask()
        return await super().read(conversation)

    async def keep(self, whole: Mapping[str, Window], more: Mapping[str, Window]) -> None:
        await self._ask()
        await super().keep(whole, more)

    async def _ask(self) -> None:
        self.calls += 1
        if not self.answers:
            await asyncio.Event().wait()


class Nodes:
    """A Redis, and nodes that keep windows in it. Make it in a virtual loop."""

    def __init__(self) -> None:
        self._server = MemoryRedisServer(asyncio.get_running_loop().time)
        self.redis = MemoryRedis(self._server)
        self.windows = Watched(self.redis)
        self._tasks: list[asyncio.Task[None]] = []

    def node(self) -> RecentPages:
        node = RecentPages(self.windows)
        self._tasks.append(asyncio.create_task(node.run()))
        return node

    async def window(self, conversation: str = A) -> Window | None:
        """What Redis has."""
        return await MemoryRecentWindows(MemoryRedis(self._server), "log").read(conversation)


def passes(node: RecentPages, seq: int, conversation: str = A, size: int = 0) -> None:
    """As `gateway/push.py` does."""
    frame = b"message %d" % seq + b"." * size
    if conversation in node.live:
        node.passed(MessageDelivered(conversation, seq, "alice", "phone", ["bob"], frame))


async def written() -> None:
    await asyncio.sleep(GRID_SECONDS * 1.5)


@virtual_time
async def test_a_page_makes_a_window_and_messages_that_pass_go_on_with_it() -> None:
    nodes = Nodes()
    node = nodes.node()
    assert await node.read(A) == {}
    node.opened(A, {}, frames(11, 20), 20)
    for seq in range(21, 31):
        passes(node, seq)
        passes(node, seq)
    await written()
    assert nodes.windows.calls == 2
    assert await nodes.window() == Window(11, list(frames(11, 30).values()))
    assert await node.read(A) == frames(11, 30)
    for seq in range(31, 41):
        passes(node, seq)
    await written()
    assert nodes.windows.calls == 4
    assert await node.read(A) == frames(11, 40)


@virtual_time
async def test_nobody_keeps_what_nobody_has_opened() -> None:
    nodes = Nodes()
    node = nodes.node()
    for seq in range(1, 30):
        passes(node, seq)
    await written()
    assert nodes.windows.calls == 0


@virtual_time
async def test_a_hole_ends_what_a_node_adds_and_the_next_page_fills_it() -> None:
    nodes = Nodes()
    node = nodes.node()
    node.opened(A, {}, frames(11, 20), 20)
    passes(node, 22)
    passes(node, 23)
    await written()
    window = await node.read(A)
    assert window == frames(11, 20)
    node.opened(A, window, frames(21, 23), 23)
    passes(node, 24)
    await written()
    assert await node.read(A) == frames(11, 24)


@virtual_time
async def test_two_nodes_keep_one_window() -> None:
    nodes = Nodes()
    one, other = nodes.node(), nodes.node()
    one.opened(A, {}, frames(1, 5), 5)
    await written()
    assert await other.read(A) == frames(1, 5)
    for seq in (6, 7, 8):
        passes(one, seq)
        passes(other, seq)
        await written()
    assert await nodes.window() == Window(1, list(frames(1, 8).values()))


@virtual_time
async def test_a_window_that_nobody_reads_costs_nothing_once_it_has_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(recent, "WINDOW_SECONDS", 60.0)
    nodes = Nodes()
    node = nodes.node()
    node.opened(A, {}, frames(1, 5), 5)
    await written()
    await asyncio.sleep(60.0)
    calls = nodes.windows.calls
    passes(node, 6)
    await written()
    assert (nodes.windows.calls, len(node.live), node.live_bytes) == (calls, 0, 0)


@virtual_time
async def test_redis_away_or_slow_holds_one_page_up_and_no_other() -> None:
    nodes = Nodes()
    node = nodes.node()
    node.opened(A, {}, frames(1, 5), 5)
    await written()
    clock = asyncio.get_running_loop().time
    for slow in (False, True):
        nodes.redis.connected, nodes.windows.answers = slow, not slow
        began = clock()
        assert await node.read(A) == {}
        assert clock() - began <= recent.READ_SECONDS * 1.01
        before = clock()
        for _ in range(10):
            assert await node.read(A) == {}
        assert clock() == before
        node.opened(A, {}, frames(6, 9), 9)
        await asyncio.sleep(AWAY_SECONDS)
        nodes.redis.connected = nodes.windows.answers = True
        assert await node.read(A) == frames(1, 5)


@virtual_time
async def test_what_could_not_be_written_leaves_no_hole() -> None:
    nodes = Nodes()
    node = nodes.node()
    node.opened(A, {}, frames(1, 5), 5)
    await written()
    nodes.redis.connected = False
    passes(node, 6)
    await written()
    nodes.redis.connected = True
    passes(node, 7)
    await written()
    assert await nodes.window() == Window(1, list(frames(1, 5).values()))
    assert A not in node.live


@virtual_time
async def test_beyond_its_bytes_a_node_forgets_what_was_read_longest_ago(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(recent, "LIVE_BYTES", 1_000)
    nodes = Nodes()
    node = nodes.node()
    names = [f"alice:bob{n}" for n in range(10)]
    for name in names[:5]:
        node.opened(name, {}, {1: b"x" * 200}, 1)
    await written()
    assert await node.read(names[0]) != {}
    for name in names[5:8]:
        node.opened(name, {}, {1: b"x" * 200}, 1)
    await written()
    there = [name for name in names if await nodes.window(name) is not None]
    assert there == [names[0], *names[4:8]]
    assert node.live.keys() == set(there)
    assert node.live_bytes == 1_000


@virtual_time
async def test_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent, "_WAITING_BYTES", 1_000)
    nodes = Nodes()
    node = nodes.node()
    node.opened(A, {}, frames(1, 1), 1)
    await written()
    for seq in range(2, 100):
        passes(node, seq, size=100)
    await written()
    assert await nodes.window() == Window(1, list(frames(1, 1).values()))
    assert (len(node.live), node.live_bytes) == (0, 0)


ranges = st.tuples(st.integers(1, 300), st.integers(0, 120)).map(
    lambda drawn: frames(drawn[0], drawn[0] + drawn[1] - 1)
)


@given(window=ranges, page=ranges, beyond=st.integers(0, 3))
def test_a_window_that_is_written_is_dense_and_better(
    window: dict[int, bytes], page: dict[int, bytes], beyond: int
) -> None:
    known = max(page, default=0) + beyond
    better = window_of(window, page, known)
    if better is None:
        return
    numbers = range(better.first, better.last + 1)
    assert dict(zip(numbers, better.frames, strict=True)) == {
        seq: (window | page)[seq] for seq in numbers
    }
    assert 1 <= len(numbers) <= WINDOW_MESSAGES
    assert better.last == known or better.last in window
    assert better.last >= max(window, default=0)
    assert set(numbers) - set(window)
