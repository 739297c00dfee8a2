"""What a gateway makes of the workers' answers: complete, or `pending` and why."""

from collections.abc import Sequence

import pytest

from connectors.redis.client import RedisUnavailable
from connectors.redis.memory import MemoryOwners, MemoryUserPartitions
from connectors.redis.memory_server import MemoryRedis, MemoryRedisServer
from connectors.redis.user_partitions import Begun, Entry
from gateway.queries.conversations import ConversationQueries
from gateway.queries.partition_lookup import PartitionLookup
from gateway.queries.worker_client import WorkerClient
from gateway.queries.worker_transport import WorkersUnavailable
from schemas.frames import Sync
from schemas.worker_api import HeadsQuestion, HoldingQuestion
from tests.harness.fake_worker import ADDRESS, ELSEWHERE, HERE, PARTITIONS, THERE, A, B, FakeWorker


@pytest.fixture
def worker() -> FakeWorker:
    return FakeWorker()


@pytest.fixture
async def owners() -> MemoryOwners:
    owners = MemoryOwners(MemoryRedis(MemoryRedisServer(lambda: 0.0)), "sequencer")
    for partition in range(PARTITIONS):
        await owners.take(partition, ADDRESS)
    return owners


@pytest.fixture
def user_partitions() -> MemoryUserPartitions:
    return MemoryUserPartitions(MemoryRedis(MemoryRedisServer(lambda: 0.0)))


@pytest.fixture
async def workers(owners: MemoryOwners, worker: FakeWorker) -> WorkerClient:
    return WorkerClient("sequencer", PARTITIONS, owners, worker)


@pytest.fixture
def lookup(workers: WorkerClient, user_partitions: MemoryUserPartitions) -> PartitionLookup:
    return PartitionLookup(user_partitions, workers)


@pytest.fixture
def conversations(workers: WorkerClient, lookup: PartitionLookup) -> ConversationQueries:
    return ConversationQueries(workers, lookup)


async def test_a_worker_is_asked_once_for_all_its_partitions(
    conversations: ConversationQueries, worker: FakeWorker
) -> None:
    heads = await conversations.heads("alice", Sync(7, {A: 2}, "alice:a", "alice:z"))
    assert (heads.id, heads.heads, heads.pending) == (7, {A: 3, B: 5}, False)
    assert worker.asked_whether == [HoldingQuestion("alice", list(range(PARTITIONS)))]
    assert worker.asked == [HeadsQuestion("alice", "alice:a", "alice:z", {HERE: {A: 2}, THERE: {}})]


async def test_a_user_who_is_known_costs_only_what_has_the_users_conversations(
    conversations: ConversationQueries, worker: FakeWorker, lookup: PartitionLookup
) -> None:
    for _ in range(3):
        heads = await conversations.heads("alice", Sync(7, {ELSEWHERE: 1}))
        assert heads.heads == {A: 3, B: 5}
    assert len(worker.asked_whether) == 1
    assert [question.cursors for question in worker.asked] == [{HERE: {}, THERE: {}}] * 3
    assert (lookup.asked_everywhere, lookup.filled, lookup.known) == (1, 1, 2)


async def test_a_user_without_conversations_costs_the_workers_nothing(
    conversations: ConversationQueries, worker: FakeWorker, user_partitions: MemoryUserPartitions
) -> None:
    worker.heads = {partition: {} for partition in range(PARTITIONS)}
    for _ in range(2):
        heads = await conversations.heads("alice", Sync(7, {}))
        assert (heads.heads, heads.pending) == ({}, False)
    assert worker.asked == []
    user_partitions.add(Begun(HERE, ["alice", "bob"]))
    worker.heads[HERE] = {A: 1}
    assert (await conversations.heads("alice", Sync(7, {}))).heads == {A: 1}


async def test_what_begins_while_everywhere_is_asked_is_kept(
    conversations: ConversationQueries, worker: FakeWorker, user_partitions: MemoryUserPartitions
) -> None:
    async def begin() -> None:
        worker.heads[THERE] = {B: 5}
        user_partitions.add(Begun(THERE, ["alice", "carol"]))

    worker.heads[THERE] = {}
    worker.before_holding = begin
    assert (await conversations.heads("alice", Sync(7, {}))).heads == {A: 3}, (
        "a message that comes later finds the route"
    )
    assert (await conversations.heads("alice", Sync(8, {}))).heads == {A: 3, B: 5}


async def test_a_partition_that_is_behind_is_asked_all_the_same_and_the_user_stays_unknown(
    conversations: ConversationQueries, worker: FakeWorker, lookup: PartitionLookup
) -> None:
    worker.heads[THERE] = {}
    worker.behind = {THERE}
    for _ in range(2):
        heads = await conversations.heads("alice", Sync(7, {}))
        assert (heads.heads, heads.pending) == ({A: 3}, False)
    assert [sorted(question.cursors) for question in worker.asked] == [sorted((HERE, THERE))] * 2
    assert (lookup.asked_everywhere, lookup.filled) == (2, 0)


async def test_a_redis_that_is_away_is_to_be_tried_later(workers: WorkerClient) -> None:
    class Away(MemoryUserPartitions):
        async def find(self, user: str) -> Entry:
            raise RedisUnavailable("away")

    lookup = PartitionLookup(Away(MemoryRedis(MemoryRedisServer(lambda: 0.0))), workers)
    with pytest.raises(WorkersUnavailable):
        await ConversationQueries(workers, lookup).heads("alice", Sync(7, {}))


async def test_a_redis_that_goes_before_the_entry_is_complete_keeps_nobody_from_the_answer(
    workers: WorkerClient,
) -> None:
    class Leaving(MemoryUserPartitions):
        async def complete(self, user: str, mark: str, partitions: Sequence[int]) -> bool:
            raise RedisUnavailable("away")

    lookup = PartitionLookup(Leaving(MemoryRedis(MemoryRedisServer(lambda: 0.0))), workers)
    heads = await ConversationQueries(workers, lookup).heads("alice", Sync(7, {}))
    assert (heads.heads, lookup.filled) == ({A: 3, B: 5}, 0)


async def test_a_partition_that_its_worker_cannot_tell_of_is_pending(
    conversations: ConversationQueries, worker: FakeWorker
) -> None:
    del worker.heads[THERE]
    heads = await conversations.heads("alice", Sync(7, {}))
    assert (heads.heads, heads.pending) == ({A: 3}, True)


async def test_a_partition_without_an_owner_is_pending(
    worker: FakeWorker, user_partitions: MemoryUserPartitions
) -> None:
    owners = MemoryOwners(MemoryRedis(MemoryRedisServer(lambda: 0.0)), "sequencer")
    await owners.take(HERE, ADDRESS)
    workers = WorkerClient("sequencer", PARTITIONS, owners, worker)
    lookup = PartitionLookup(user_partitions, workers)
    heads = await ConversationQueries(workers, lookup).heads("alice", Sync(7, {}))
    assert (heads.heads, heads.pending) == ({A: 3}, True)


async def test_an_owner_that_is_not_there_is_pending(
    conversations: ConversationQueries, owners: MemoryOwners
) -> None:
    await owners.take(THERE, "nobody:1")
    heads = await conversations.heads("alice", Sync(7, {}))
    assert (heads.heads, heads.pending) == ({A: 3}, True)


async def test_an_answer_that_cannot_be_read_is_pending(
    conversations: ConversationQueries, worker: FakeWorker
) -> None:
    worker.answer = b'{"0": '
    heads = await conversations.heads("alice", Sync(7, {}))
    assert (heads.heads, heads.pending) == ({}, True)


@pytest.mark.parametrize("answer", [b"", b"\n", b"{}"])
async def test_a_page_that_cannot_be_read_is_to_be_asked_for_again(
    conversations: ConversationQueries,
    worker: FakeWorker,
    answer: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def request(*_: object) -> tuple[int, bytes]:
        return 200, answer

    monkeypatch.setattr(worker, "request", request)
    with pytest.raises(WorkersUnavailable):
        await conversations.page(A, 0, 1)


async def test_an_owner_that_has_lost_the_partition_meanwhile_may_know_too_little(
    conversations: ConversationQueries, owners: MemoryOwners, worker: FakeWorker
) -> None:
    async def taken_over() -> None:
        await owners.take(THERE, "another:1")

    worker.before_answer = taken_over
    heads = await conversations.heads("alice", Sync(7, {}))
    assert (heads.heads, heads.pending) == ({A: 3, B: 5}, True)
