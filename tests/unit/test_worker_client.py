"""One slow partition costs a question its own part of the answer, and only for a moment."""

import asyncio

import pytest

from connectors.redis.memory import MemoryOwners
from connectors.redis.memory_server import MemoryRedis, MemoryRedisServer
from gateway.queries.conversations import ConversationQueries, LogPage
from gateway.queries.memberships import MembershipQueries
from gateway.queries.worker_client import MAX_UNDER_WAY, WorkerClient
from gateway.queries.worker_transport import WorkersUnavailable
from schemas.frames import Heads, Sync
from tests.harness.fake_worker import ADDRESS, HERE, PARTITIONS, THERE, A, B, FakeWorker
from tests.harness.virtual import run


class Lab:
    """A gateway's questions to one worker with all partitions."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.worker = FakeWorker()
        redis = MemoryRedis(MemoryRedisServer(lambda: 0.0))
        self.owners = MemoryOwners(redis, "sequencer")
        self.client = WorkerClient("sequencer", PARTITIONS, self.owners, self.worker)
        self.memberships = MemoryOwners(redis, "memberships")
        asked = WorkerClient("memberships", PARTITIONS, self.memberships, self.worker)
        self.conversations = ConversationQueries(self.client, MembershipQueries(asked))
        self._clock = loop.time

    async def begin(self) -> None:
        for partition in range(PARTITIONS):
            await self.owners.take(partition, ADDRESS)
            await self.memberships.take(partition, ADDRESS)

    async def heads(self) -> tuple[Heads, float]:
        """The answer, and how many seconds it took."""
        asked = self._clock()
        heads = await self.conversations.heads("alice", Sync(1, {}))
        return heads, self._clock() - asked


def test_a_partition_that_does_not_answer_delays_a_question_once_and_then_a_moment() -> None:
    """Fault 14."""

    async def scenario() -> None:
        lab = Lab()
        await lab.begin()
        lab.worker.stuck = {THERE}
        heads, seconds = await lab.heads()
        assert (heads.heads, heads.pending) == ({}, True)
        assert seconds <= 3
        for _ in range(3):
            heads, seconds = await lab.heads()
            assert (heads.heads, heads.pending) == ({A: 3}, True), "the other partition answers"
            assert seconds <= 1
        lab.worker.stuck = set()
        for _ in range(2):
            heads, seconds = await lab.heads()
            assert (heads.heads, heads.pending, seconds) == ({A: 3, B: 5}, False, 0)
        assert len(lab.worker.asked[-1].cursors) == 2, "it is asked together with the others again"

    run(scenario())


def test_pages_of_a_partition_that_does_not_answer_take_no_places_from_the_others() -> None:
    async def scenario() -> None:
        lab = Lab()
        await lab.begin()
        lab.worker.stuck = {THERE}
        with pytest.raises(WorkersUnavailable):
            await lab.conversations.page(B, 0, 1)
        began, lab.worker.pages = asyncio.get_running_loop().time(), 0
        pages = await asyncio.gather(
            *(lab.conversations.page(B, 0, 1) for _ in range(50)), return_exceptions=True
        )
        assert all(isinstance(page, WorkersUnavailable) for page in pages)
        assert asyncio.get_running_loop().time() - began <= 5
        assert lab.worker.pages < 10, "they wait for an answer that does not come"
        assert await lab.conversations.page(A, 0, 1) == LogPage(3, {})
        lab.worker.stuck = set()
        assert await lab.conversations.page(B, 0, 1) == LogPage(5, {})

    run(scenario())


def test_questions_under_way_are_bounded() -> None:
    async def scenario() -> None:
        lab = Lab()
        await lab.begin()
        lab.worker.stuck = {HERE}
        asking = [
            asyncio.create_task(lab.conversations.page(A, 0, 1)) for _ in range(MAX_UNDER_WAY)
        ]
        await asyncio.sleep(0)
        assert lab.client.under_way == MAX_UNDER_WAY
        with pytest.raises(WorkersUnavailable, match="under way"):
            await lab.conversations.page(B, 0, 1)
        await asyncio.gather(*asking, return_exceptions=True)
        assert lab.client.under_way == 0
        assert await lab.conversations.page(B, 0, 1) == LogPage(5, {})

    run(scenario())
