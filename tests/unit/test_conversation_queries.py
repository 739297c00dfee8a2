"""What a gateway makes of the workers' answers: complete, or `pending` and why."""

import asyncio

import pytest

from connectors.redis.client import RedisUnavailable
from connectors.redis.memory import MemoryOwners
from connectors.redis.memory_server import MemoryRedis, MemoryRedisServer
from gateway.queries.conversations import ConversationQueries, LogPage
from gateway.queries.memberships import MembershipQueries
from gateway.queries.worker_client import WorkerClient
from gateway.queries.worker_transport import WorkersUnavailable
from schemas.frames import Sync
from schemas.ids import partition_of
from schemas.worker_api import HeadsQuestion, MembershipsQuestion
from tests.harness.fake_worker import ADDRESS, ELSEWHERE, HERE, PARTITIONS, THERE, A, B, FakeWorker

ANOTHER = "another:1"


class Claims(MemoryOwners):
    """All partitions are claimed by one worker. `looks`: how often somebody asked whose they
    are."""

    def __init__(self, stage: str) -> None:
        super().__init__(MemoryRedis(MemoryRedisServer(lambda: 0.0)), stage)
        self.looks = 0
        self.away = False

    async def all_taken(self) -> "Claims":
        for partition in range(PARTITIONS):
            await self.take(partition, ADDRESS)
        return self

    async def find(self, partitions):  # type: ignore[no-untyped-def]
        self.looks += 1
        if self.away:
            raise RedisUnavailable("away")
        return await super().find(partitions)


@pytest.fixture
def worker() -> FakeWorker:
    return FakeWorker()


@pytest.fixture
async def owners() -> Claims:
    return await Claims("sequencer").all_taken()


@pytest.fixture
async def membership_owners() -> Claims:
    return await Claims("memberships").all_taken()


@pytest.fixture
async def conversations(
    owners: Claims, membership_owners: Claims, worker: FakeWorker
) -> ConversationQueries:
    memberships = WorkerClient("memberships", PARTITIONS, membership_owners, worker)
    sequencers = WorkerClient("sequencer", PARTITIONS, owners, worker)
    return ConversationQueries(sequencers, MembershipQueries(memberships))


async def test_one_owner_is_asked_where_and_a_worker_once_for_all_its_partitions(
    conversations: ConversationQueries, worker: FakeWorker
) -> None:
    heads = await conversations.heads("alice", Sync(7, {A: 2, ELSEWHERE: 1}, "alice:a", "alice:z"))
    assert (heads.id, heads.heads, heads.pending) == (7, {A: 3, B: 5}, False)
    assert worker.asked_where == [MembershipsQuestion({partition_of("alice", 4): ["alice"]})]
    assert worker.asked == [HeadsQuestion("alice", "alice:a", "alice:z", {HERE: {A: 2}, THERE: {}})]


async def test_a_user_without_conversations_costs_no_sequencer_anything(
    conversations: ConversationQueries, worker: FakeWorker
) -> None:
    worker.heads = {partition: {} for partition in range(PARTITIONS)}
    heads = await conversations.heads("alice", Sync(7, {}))
    assert (heads.heads, heads.pending, worker.asked) == ({}, False, [])


async def test_a_partition_that_has_not_said_all_is_asked(
    conversations: ConversationQueries, worker: FakeWorker
) -> None:
    elsewhere = partition_of(ELSEWHERE, PARTITIONS)
    worker.unsaid = {elsewhere}
    await conversations.heads("alice", Sync(7, {}))
    assert sorted(worker.asked[0].cursors) == sorted({HERE, THERE, elsewhere})


async def test_questions_at_the_same_time_share_requests_and_looks_at_the_claims(
    conversations: ConversationQueries, worker: FakeWorker, owners: Claims
) -> None:
    asking = [conversations.heads(f"user{number}", Sync(number, {})) for number in range(100)]
    answers = await asyncio.gather(*asking)
    assert [answer.id for answer in answers] == list(range(100))
    assert all(answer.heads == {A: 3, B: 5} and not answer.pending for answer in answers)
    assert worker.requests < 10
    assert owners.looks < 10


async def test_claims_that_are_known_are_looked_at_after_an_answer_only(
    conversations: ConversationQueries, owners: Claims, membership_owners: Claims
) -> None:
    await conversations.heads("alice", Sync(1, {}))
    owners.looks = membership_owners.looks = 0
    for _ in range(3):
        await conversations.heads("alice", Sync(1, {}))
    assert (owners.looks, membership_owners.looks) == (3, 0)


async def test_a_partition_with_another_owner_is_asked_for_there(
    conversations: ConversationQueries,
    owners: Claims,
    membership_owners: Claims,
    worker: FakeWorker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As when all workers have been replaced: nobody has to ask again."""
    await conversations.heads("alice", Sync(1, {}))
    monkeypatch.setattr("tests.harness.fake_worker.ADDRESS", ANOTHER)
    for partition in range(PARTITIONS):
        await owners.take(partition, ANOTHER)
        await membership_owners.take(partition, ANOTHER)
    heads = await conversations.heads("alice", Sync(1, {}))
    assert (heads.heads, heads.pending) == ({A: 3, B: 5}, False)
    assert await conversations.page(A, 0, 1) == LogPage(3, {})


async def test_a_redis_that_is_away_is_to_be_tried_later(
    conversations: ConversationQueries, owners: Claims, membership_owners: Claims
) -> None:
    await conversations.heads("alice", Sync(7, {}))
    owners.away = membership_owners.away = True
    with pytest.raises(WorkersUnavailable):
        await conversations.heads("alice", Sync(7, {}))


async def test_a_membership_owner_that_is_away_is_to_be_tried_later(
    conversations: ConversationQueries, membership_owners: Claims
) -> None:
    for partition in range(PARTITIONS):
        await membership_owners.take(partition, ANOTHER)
    with pytest.raises(WorkersUnavailable):
        await conversations.heads("alice", Sync(7, {}))


async def test_a_partition_that_its_worker_cannot_tell_of_is_pending(
    conversations: ConversationQueries, worker: FakeWorker
) -> None:
    del worker.heads[THERE]
    worker.unsaid = {THERE}
    heads = await conversations.heads("alice", Sync(7, {}))
    assert (heads.heads, heads.pending) == ({A: 3}, True)


async def test_a_partition_without_an_owner_is_pending(
    conversations: ConversationQueries, owners: Claims
) -> None:
    owners._table("owners").pop(("sequencer", THERE))
    heads = await conversations.heads("alice", Sync(7, {}))
    assert (heads.heads, heads.pending) == ({A: 3}, True)


async def test_an_owner_that_is_not_there_is_pending(
    conversations: ConversationQueries, owners: Claims
) -> None:
    await owners.take(THERE, "nobody:1")
    heads = await conversations.heads("alice", Sync(7, {}))
    assert (heads.heads, heads.pending) == ({A: 3}, True)


@pytest.mark.parametrize("answer", [b'{"0": ', b"[]", b"[{},{}]"])
async def test_an_answer_that_cannot_be_read_is_pending(
    conversations: ConversationQueries, worker: FakeWorker, answer: bytes
) -> None:
    worker.answer = answer
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


@pytest.mark.parametrize(
    ("answer", "frames"),
    [
        (b'{"known":7}\nfive\nsix\nseven', {5: b"five", 6: b"six", 7: b"seven"}),
        (b'{"known":7}\nfive', {5: b"five"}),
        (b'{"known":2}\none\ntwo', {1: b"one", 2: b"two"}),
        (b'{"known":7}\n', {}),
    ],
)
async def test_the_newest_page_begins_as_far_before_the_last_message_as_was_asked(
    conversations: ConversationQueries,
    worker: FakeWorker,
    answer: bytes,
    frames: dict[int, bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The last answer is that of a worker that does not know the question."""

    async def request(*_: object) -> tuple[int, bytes]:
        return 200, answer

    monkeypatch.setattr(worker, "request", request)
    assert await conversations.newest_page(A, 3) == LogPage(2 if b":2" in answer else 7, frames)


async def test_an_owner_that_has_lost_the_partition_meanwhile_may_know_too_little(
    conversations: ConversationQueries, owners: Claims, worker: FakeWorker
) -> None:
    async def taken_over() -> None:
        await owners.take(THERE, ANOTHER)

    worker.before_answer = taken_over
    heads = await conversations.heads("alice", Sync(7, {}))
    assert (heads.heads, heads.pending) == ({A: 3, B: 5}, True)
