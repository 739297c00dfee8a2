"""A worker's answers to gateways, without a network: one worker with all partitions of the
sequencer and the memberships, as a `WorkerTransport`."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import msgspec

from gateway.queries.worker_transport import WorkersUnavailable
from schemas.ids import partition_of
from schemas.worker_api import (
    HeadsAnswer,
    HeadsQuestion,
    MembershipsAnswer,
    MembershipsQuestion,
    PageHead,
)

PARTITIONS = 4
A, B = "alice:bob", "alice:carol"
HERE, THERE = partition_of(A, PARTITIONS), partition_of(B, PARTITIONS)
ELSEWHERE = next(
    name
    for name in map("alice:z{}".format, range(99))
    if partition_of(name, PARTITIONS) not in (HERE, THERE)
)
ADDRESS = "worker:1"


class FakeWorker:
    """Answers from `heads` (partition → conversation → last seq). Requests that name a partition in
    `stuck` are never answered."""

    def __init__(self) -> None:
        self.heads: HeadsAnswer = {partition: {} for partition in range(PARTITIONS)} | {
            HERE: {A: 3},
            THERE: {B: 5},
        }
        self.asked: list[HeadsQuestion] = []
        self.requests = 0
        self.asked_where: list[MembershipsQuestion] = []
        self.pages = 0
        self.stuck: set[int] = set()
        self.unsaid: set[int] = set()
        """Partitions of the log that have not said all their members."""
        self.before_answer: Callable[[], Awaitable[None]] | None = None
        self.answer: bytes | None = None

    async def request(
        self,
        method: str,
        url: str,
        body: bytes | None = None,
        params: Mapping[str, str] | None = None,
    ) -> tuple[int, bytes]:
        address, stage, endpoint, *rest = url.removeprefix("http://").strip("/").split("/")
        if address != ADDRESS:
            raise WorkersUnavailable(f"nobody is at {address}/{stage}")
        if endpoint == "heads":
            self.requests += 1
            heads = msgspec.json.decode(body or b"", type=list[HeadsQuestion])
            return 200, self.answer or msgspec.json.encode(
                [await self._heads(one) for one in heads]
            )
        if endpoint == "partitions":
            asked = msgspec.json.decode(body or b"", type=list[MembershipsQuestion])
            return 200, msgspec.json.encode([self._where(one) for one in asked])
        assert endpoint == "page"
        self.pages += 1
        await self._stick([int(rest[0])])
        seqs = self.heads[int(rest[0])]
        return 200, msgspec.json.encode(PageHead(seqs[(params or {})["conversation"]]))

    async def close(self) -> None:
        pass

    async def _stick(self, partitions: list[int]) -> None:
        if self.stuck & set(partitions):
            await asyncio.get_running_loop().create_future()

    async def _heads(self, question: HeadsQuestion) -> HeadsAnswer:
        self.asked.append(question)
        await self._stick(list(question.cursors))
        if self.before_answer is not None:
            await self.before_answer()
        return {
            partition: heads
            for partition, heads in self.heads.items()
            if partition in question.cursors
        }

    def _where(self, question: MembershipsQuestion) -> MembershipsAnswer:
        self.asked_where.append(question)
        everywhere = {number for number, heads in self.heads.items() if heads}
        return {
            number: [sorted(everywhere | self.unsaid) for _ in users]
            for number, users in question.users.items()
        }
