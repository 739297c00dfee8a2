"""What a gateway makes of the workers' answers: complete, or `pending` and why."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import msgspec
import pytest
from aiohttp import web

from connectors.redis.client import RedisUnavailable
from connectors.redis.memory import MemoryOwners, MemoryUserPartitions
from connectors.redis.user_partitions import Begun, Entry
from gateway.queries.conversations import ConversationQueries
from gateway.queries.partition_lookup import PartitionLookup
from gateway.queries.worker_client import MAX_REQUESTS, WorkerClient, WorkersUnavailable
from schemas.frames import Sync
from schemas.ids import partition_of
from schemas.worker_api import HeadsAnswer, HeadsQuestion, HoldingQuestion, PageHead

PARTITIONS = 4
A, B = "alice:bob", "alice:carol"
HERE, THERE = partition_of(A, PARTITIONS), partition_of(B, PARTITIONS)
ELSEWHERE = next(
    name
    for name in map("alice:z{}".format, range(99))
    if partition_of(name, PARTITIONS) not in (HERE, THERE)
)


class FakeWorker:
    """Answers with what `heads` says, over real HTTP; `before_answer` runs in between."""

    def __init__(self) -> None:
        self.heads: HeadsAnswer = {partition: {} for partition in range(PARTITIONS)} | {
            HERE: {A: 3},
            THERE: {B: 5},
        }
        self.asked: list[HeadsQuestion] = []
        self.asked_whether: list[HoldingQuestion] = []
        self.behind: set[int] = set()
        """Partitions that cannot tell now whether they have conversations of a user."""
        self.before_answer: Callable[[], Awaitable[None]] | None = None
        self.before_holding: Callable[[], Awaitable[None]] | None = None
        self.answer: bytes | None = None
        self.address = ""

    async def handle(self, request: web.Request) -> web.Response:
        question = msgspec.json.decode(await request.read(), type=HeadsQuestion)
        self.asked.append(question)
        if self.before_answer is not None:
            await self.before_answer()
        found = {
            partition: heads
            for partition, heads in self.heads.items()
            if partition in question.cursors
        }
        return web.Response(body=self.answer or msgspec.json.encode(found))

    async def holding(self, request: web.Request) -> web.Response:
        question = msgspec.json.decode(await request.read(), type=HoldingQuestion)
        self.asked_whether.append(question)
        found = {
            number: bool(heads) for number, heads in self.heads.items() if number not in self.behind
        }
        if self.before_holding is not None:
            await self.before_holding()
        return web.Response(body=self.answer or msgspec.json.encode(found))

    async def page(self, request: web.Request) -> web.Response:
        return web.Response(
            body=msgspec.json.encode(PageHead(self.heads[HERE][request.query["conversation"]]))
        )


@pytest.fixture
async def worker() -> AsyncIterator[FakeWorker]:
    fake = FakeWorker()
    app = web.Application()
    app.router.add_post("/sequencer/heads/", fake.handle)
    app.router.add_post("/sequencer/holding/", fake.holding)
    app.router.add_get("/sequencer/page/{partition}/", fake.page)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    fake.address = f"{host}:{port}"
    yield fake
    await runner.cleanup()


@pytest.fixture
async def owners(worker: FakeWorker) -> MemoryOwners:
    owners = MemoryOwners(time.monotonic)
    for partition in range(PARTITIONS):
        await owners.take(partition, worker.address)
    return owners


@pytest.fixture
def directory() -> MemoryUserPartitions:
    return MemoryUserPartitions(time.monotonic)


@pytest.fixture
async def workers(owners: MemoryOwners) -> AsyncIterator[WorkerClient]:
    made = WorkerClient("sequencer", owners, PARTITIONS)
    yield made
    await made.close()


@pytest.fixture
def whereabouts(workers: WorkerClient, directory: MemoryUserPartitions) -> PartitionLookup:
    return PartitionLookup(directory, workers)


@pytest.fixture
def ranges(workers: WorkerClient, whereabouts: PartitionLookup) -> ConversationQueries:
    return ConversationQueries(workers, whereabouts)


async def test_a_worker_is_asked_once_for_all_its_partitions(
    ranges: ConversationQueries, worker: FakeWorker
) -> None:
    heads = await ranges.heads("alice", Sync(7, {A: 2}, "alice:a", "alice:z"))
    assert (heads.id, heads.heads, heads.pending) == (7, {A: 3, B: 5}, False)
    assert worker.asked_whether == [HoldingQuestion("alice", list(range(PARTITIONS)))]
    assert worker.asked == [HeadsQuestion("alice", "alice:a", "alice:z", {HERE: {A: 2}, THERE: {}})]


async def test_a_user_who_is_known_costs_only_what_has_the_users_conversations(
    ranges: ConversationQueries, worker: FakeWorker, whereabouts: PartitionLookup
) -> None:
    for _ in range(3):
        assert (await ranges.heads("alice", Sync(7, {ELSEWHERE: 1}))).heads == {A: 3, B: 5}
    assert len(worker.asked_whether) == 1
    assert [question.cursors for question in worker.asked] == [{HERE: {}, THERE: {}}] * 3
    assert (whereabouts.asked_everywhere, whereabouts.filled, whereabouts.known) == (1, 1, 2)


async def test_a_user_without_conversations_costs_the_workers_nothing(
    ranges: ConversationQueries, worker: FakeWorker, directory: MemoryUserPartitions
) -> None:
    worker.heads = {partition: {} for partition in range(PARTITIONS)}
    for _ in range(2):
        heads = await ranges.heads("alice", Sync(7, {}))
        assert (heads.heads, heads.pending) == ({}, False)
    assert worker.asked == []
    directory.add(Begun(HERE, ["alice", "bob"]))
    worker.heads[HERE] = {A: 1}
    assert (await ranges.heads("alice", Sync(7, {}))).heads == {A: 1}


async def test_what_begins_while_everywhere_is_asked_is_kept(
    ranges: ConversationQueries, worker: FakeWorker, directory: MemoryUserPartitions
) -> None:
    async def begin() -> None:
        worker.heads[THERE] = {B: 5}
        directory.add(Begun(THERE, ["alice", "carol"]))

    worker.heads[THERE] = {}
    worker.before_holding = begin
    assert (await ranges.heads("alice", Sync(7, {}))).heads == {A: 3}, (
        "a message that comes later finds the route"
    )
    assert (await ranges.heads("alice", Sync(8, {}))).heads == {A: 3, B: 5}


async def test_a_partition_that_is_behind_is_asked_all_the_same_and_the_user_stays_unknown(
    ranges: ConversationQueries, worker: FakeWorker, whereabouts: PartitionLookup
) -> None:
    worker.heads[THERE] = {}
    worker.behind = {THERE}
    for _ in range(2):
        heads = await ranges.heads("alice", Sync(7, {}))
        assert (heads.heads, heads.pending) == ({A: 3}, False)
    assert [sorted(question.cursors) for question in worker.asked] == [sorted((HERE, THERE))] * 2
    assert (whereabouts.asked_everywhere, whereabouts.filled) == (2, 0)


async def test_a_redis_that_is_away_is_to_be_tried_later(workers: WorkerClient) -> None:
    class Away(MemoryUserPartitions):
        async def find(self, user: str) -> Entry:
            raise RedisUnavailable("away")

    with pytest.raises(WorkersUnavailable):
        await ConversationQueries(workers, PartitionLookup(Away(time.monotonic), workers)).heads(
            "alice", Sync(7, {})
        )


async def test_a_redis_that_goes_before_the_entry_is_complete_keeps_nobody_from_the_answer(
    workers: WorkerClient,
) -> None:
    class Leaving(MemoryUserPartitions):
        async def complete(self, user: str, mark: str, partitions: Sequence[int]) -> bool:
            raise RedisUnavailable("away")

    whereabouts = PartitionLookup(Leaving(time.monotonic), workers)
    assert (await ConversationQueries(workers, whereabouts).heads("alice", Sync(7, {}))).heads == {
        A: 3,
        B: 5,
    }
    assert whereabouts.filled == 0


async def test_a_partition_that_its_worker_cannot_tell_of_is_pending(
    ranges: ConversationQueries, worker: FakeWorker
) -> None:
    del worker.heads[THERE]
    heads = await ranges.heads("alice", Sync(7, {}))
    assert (heads.heads, heads.pending) == ({A: 3}, True)


async def test_a_partition_without_an_owner_is_pending(worker: FakeWorker) -> None:
    owners = MemoryOwners(time.monotonic)
    await owners.take(HERE, worker.address)
    workers = WorkerClient("sequencer", owners, PARTITIONS)
    ranges = ConversationQueries(
        workers, PartitionLookup(MemoryUserPartitions(time.monotonic), workers)
    )
    heads = await ranges.heads("alice", Sync(7, {}))
    assert (heads.heads, heads.pending) == ({A: 3}, True)
    await workers.close()


async def test_an_owner_that_is_not_there_is_pending(
    ranges: ConversationQueries, owners: MemoryOwners, unused_tcp_port: int
) -> None:
    await owners.take(THERE, f"127.0.0.1:{unused_tcp_port}")
    heads = await ranges.heads("alice", Sync(7, {}))
    assert (heads.heads, heads.pending) == ({A: 3}, True)


async def test_a_worker_that_does_not_answer_keeps_none_of_the_others_waiting(
    ranges: ConversationQueries, owners: MemoryOwners, worker: FakeWorker
) -> None:
    asked: list[asyncio.StreamWriter] = []
    silent = await asyncio.start_server(lambda _, writer: asked.append(writer), "127.0.0.1", 0)
    await owners.take(THERE, "{}:{}".format(*silent.sockets[0].getsockname()))
    waiting = [asyncio.create_task(ranges.page(B, 0, 1)) for _ in range(2 * MAX_REQUESTS)]
    await asyncio.sleep(0.1)
    async with asyncio.timeout(1):
        assert await ranges.page(A, 0, 1) == (3, [])
    assert not any(one.done() for one in waiting)
    assert len(asked) == MAX_REQUESTS
    for one in waiting:
        one.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    for writer in asked:
        writer.close()
    silent.close()
    await silent.wait_closed()


async def test_an_answer_that_cannot_be_read_is_pending(
    ranges: ConversationQueries, worker: FakeWorker
) -> None:
    worker.answer = b'{"0": '
    heads = await ranges.heads("alice", Sync(7, {}))
    assert (heads.heads, heads.pending) == ({}, True)


async def test_an_owner_that_has_lost_the_partition_meanwhile_may_know_too_little(
    ranges: ConversationQueries, owners: MemoryOwners, worker: FakeWorker
) -> None:
    async def taken_over() -> None:
        await owners.take(THERE, "127.0.0.1:1")

    worker.before_answer = taken_over
    heads = await ranges.heads("alice", Sync(7, {}))
    assert (heads.heads, heads.pending) == ({A: 3, B: 5}, True)
