"""A worker's answers to gateways, without a network: one worker with all partitions, as a
`WorkerTransport`."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import msgspec

from gateway.queries.worker_transport import WorkersUnavailable
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
        self.asked_whether: list[HoldingQuestion] = []
        self.pages = 0
        self.stuck: set[int] = set()
        self.behind: set[int] = set()
        """Partitions that cannot tell now whether they have conversations of a user."""
        self.before_answer: Callable[[], Awaitable[None]] | None = None
        self.before_holding: Callable[[], Awaitable[None]] | None = None
        self.answer: bytes | None = None

    async def request(
        self,
        method: str,
        url: str,
        body: bytes | None = None,
        params: Mapping[str, str] | None = None,
    ) -> tuple[int, bytes]:
        address, stage, endpoint, *rest = url.removeprefix("http://").strip("/").split("/")
        if address != ADDRESS or stage != "sequencer":
            raise WorkersUnavailable(f"nobody is at {address}/{stage}")
        if endpoint == "heads":
            return 200, await self._heads(msgspec.json.decode(body or b"", type=HeadsQuestion))
        if endpoint == "holding":
            return 200, await self._holding(msgspec.json.decode(body or b"", type=HoldingQuestion))
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

    async def _heads(self, question: HeadsQuestion) -> bytes:
        self.asked.append(question)
        await self._stick(list(question.cursors))
        if self.before_answer is not None:
            await self.before_answer()
        found = {
            partition: heads
            for partition, heads in self.heads.items()
            if partition in question.cursors
        }
        return self.answer or msgspec.json.encode(found)

    async def _holding(self, question: HoldingQuestion) -> bytes:
        self.asked_whether.append(question)
        await self._stick(question.partitions)
        found = {
            number: bool(heads)
            for number, heads in self.heads.items()
            if number in question.partitions and number not in self.behind
        }
        if self.before_holding is not None:
            await self.before_holding()
        return self.answer or msgspec.json.encode(found)
