"""Finds the workers of one stage by their claims in Redis, and asks them about the partitions they
own.

If a worker does not answer, the question goes without that worker's partitions. The client asks
about a partition that was slow lately by itself, and waits for it less long.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, TypeVar

import msgspec
from msgspec import Struct

from connectors.redis.client import RedisUnavailable
from connectors.redis.owners import Owners
from gateway.log_throttle import LogThrottle
from gateway.queries.worker_transport import WorkersUnavailable, WorkerTransport
from schemas.codec import UNDECODABLE
from schemas.ids import partition_of

log = logging.getLogger(__name__)

_Found = TypeVar("_Found")

_ANSWER_SECONDS = 3.0
"""Timeout of one worker's answer about several partitions. A worker itself waits up to 2 s for
Kafka."""
_PAGE_SECONDS = 5.0
"""Timeout of a page of messages, which a worker may have to read from Kafka."""
_SLOW_ANSWER_SECONDS = 1.0
"""Timeout of a partition that was slow lately."""
_SLOW_SECONDS = 10.0
"""So long after a slow answer the partition counts as slow."""
_MAX_SLOW_REQUESTS = 4
"""Pages of one slow partition that are asked for at the same time. More are refused, so that they
leave room to the other partitions."""
MAX_UNDER_WAY = 5_000
"""Requests under way, or waiting to be, at all workers of the stage, at 8 KiB each; more are
unavailable at once."""


class _Asked(NamedTuple):
    """One request: the worker's address, the partitions it is asked about, and the seconds it
    has."""

    address: str
    partitions: list[int]
    seconds: float


class WorkerClient:
    """Use it inside a running loop. `stage` is the first part of the endpoints' path
    (/sequencer/heads/); `partitions` is how many its topics have."""

    def __init__(
        self, stage: str, partitions: int, owners: Owners, transport: WorkerTransport
    ) -> None:
        self.partitions = partitions
        self._stage = stage
        self._owners = owners
        self._transport = transport
        self.under_way = 0
        self._pages: Counter[int] = Counter()
        """partition → pages under way."""
        self._slow: dict[int, float] = {}
        """partition → loop time until which it counts as slow."""
        self._clock = asyncio.get_running_loop().time
        self._unanswered = LogThrottle(log.info)

    def by_partition(self, names: Iterable[str]) -> dict[int, list[str]]:
        """partition → those of the names (conversations or users) that belong to it."""
        grouped: dict[int, list[str]] = {}
        for name in names:
            grouped.setdefault(partition_of(name, self.partitions), []).append(name)
        return grouped

    async def ask_about(
        self,
        endpoint: str,
        answer: msgspec.json.Decoder[dict[int, _Found]],
        names: Iterable[str],
        question: Callable[[dict[int, list[str]]], Struct],
    ) -> tuple[dict[int, _Found], bool]:
        """As `ask_owners`, about conversations or users: `question` is made from partition →
        names."""
        asked = self.by_partition(names)
        return await self.ask_owners(
            endpoint, answer, asked, lambda theirs: question({one: asked[one] for one in theirs})
        )

    async def ask_owners(
        self,
        endpoint: str,
        answer: msgspec.json.Decoder[dict[int, _Found]],
        partitions: Iterable[int],
        question: Callable[[list[int]], Struct],
    ) -> tuple[dict[int, _Found], bool]:
        """(partition → answer, whether it is complete). Each worker is asked once for all its
        partitions, but for each slow one by itself. Raises WorkersUnavailable.

        A partition's answer is complete if it has the same owner before and after. An owner claims
        a partition before it looks for any route, and answers for all it has folded. So its answer
        holds every message that was delivered before the asking device had its route.
        """
        wanted = list(partitions)
        if not wanted:
            return {}, True
        before = await self._find(wanted)
        found: dict[int, _Found] = {}
        for some in await asyncio.gather(
            *(
                self._ask(one, endpoint, answer, question(one.partitions))
                for one in self._requests(before)
            )
        ):
            found |= some
        after = await self._find(wanted)
        return found, all(
            number in found and before.get(number) == after.get(number) for number in wanted
        )

    async def ask_owner(
        self, conversation: str, endpoint: str, query: Mapping[str, str]
    ) -> tuple[int, bytes]:
        """(status, body) of the owner of a conversation's partition. Raises WorkersUnavailable."""
        partition = partition_of(conversation, self.partitions)
        if self._is_slow(partition) and self._pages[partition] >= _MAX_SLOW_REQUESTS:
            raise WorkersUnavailable(f"{self._stage} {partition} is slow, and others wait for it")
        address = (await self._find([partition])).get(partition)
        if address is None:
            raise WorkersUnavailable(f"no worker claims {self._stage} {partition}")
        url = f"http://{address}/{self._stage}/{endpoint}/{partition}/"
        self._pages[partition] += 1
        try:
            return await self._request("GET", url, [partition], _PAGE_SECONDS, params=query)
        finally:
            self._pages[partition] -= 1

    def _requests(self, owners: Mapping[int, str]) -> list[_Asked]:
        alone = [
            _Asked(address, [partition], _SLOW_ANSWER_SECONDS)
            for partition, address in owners.items()
            if self._is_slow(partition)
        ]
        together: dict[str, list[int]] = {}
        for partition, address in owners.items():
            if not self._is_slow(partition):
                together.setdefault(address, []).append(partition)
        return alone + [
            _Asked(address, theirs, _ANSWER_SECONDS) for address, theirs in together.items()
        ]

    async def _ask(
        self,
        asked: _Asked,
        endpoint: str,
        answer: msgspec.json.Decoder[dict[int, _Found]],
        question: Struct,
    ) -> dict[int, _Found]:
        """partition → answer of one worker; nothing, if it does not answer."""
        url = f"http://{asked.address}/{self._stage}/{endpoint}/"
        body = msgspec.json.encode(question)
        try:
            status, found = await self._request(
                "POST", url, asked.partitions, asked.seconds, body=body
            )
            if status == 200:
                return answer.decode(found)
            self._unanswered(f"{url}: {status}")
        except (WorkersUnavailable, *UNDECODABLE) as error:
            self._unanswered(f"{url}: {error}")
        return {}

    async def _find(self, partitions: Iterable[int]) -> Mapping[int, str]:
        try:
            return await self._owners.find(partitions)
        except RedisUnavailable as error:
            raise WorkersUnavailable(str(error)) from None

    def _is_slow(self, partition: int) -> bool:
        return self._slow.get(partition, 0.0) > self._clock()

    async def _request(
        self,
        method: str,
        url: str,
        partitions: Iterable[int],
        seconds: float,
        *,
        body: bytes | None = None,
        params: Mapping[str, str] | None = None,
    ) -> tuple[int, bytes]:
        """Ask a worker, and remember which partitions were slow."""
        if self.under_way >= MAX_UNDER_WAY:
            raise WorkersUnavailable(f"{self.under_way} questions are under way")
        self.under_way += 1
        try:
            async with asyncio.timeout(seconds):
                answer = await self._transport.request(method, url, body, params)
        except TimeoutError:
            until = self._clock() + _SLOW_SECONDS
            self._slow |= dict.fromkeys(partitions, until)
            raise WorkersUnavailable(f"{url}: no answer within {seconds:g} s") from None
        finally:
            self.under_way -= 1
        for partition in partitions:
            self._slow.pop(partition, None)
        return answer
