"""Finds the workers of one stage by their claims in Redis, and asks them about the partitions they
own.

Questions that wait at the same moment go to a worker in one request, and share one look at the
claims. If a worker does not answer, the question goes without that worker's partitions. The client
asks about a partition that was slow lately by itself, and waits for it less long.
"""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import msgspec
from msgspec import Struct

from connectors.redis.owners import Owners
from connectors.request_batcher import RequestBatcher
from gateway.log_throttle import LogThrottle
from gateway.queries.claims import Claims
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
"""Questions under way, or waiting to be, at all workers of the stage, at 8 KiB each; more are
unavailable at once."""
_REQUESTS, _TOGETHER, _PATIENCE_SECONDS = 2, 200, 0.005
"""At one worker so many requests of a kind are under way, and one more for questions that have
waited so long; and so many questions are in one request."""
_MAX_WAYS = 500
"""Workers that are gone are forgotten after so many."""


class _Way(NamedTuple):
    """Which worker a request asks, and what: the worker's address, the endpoint, and the partition
    that is slow, None for all others."""

    address: str
    endpoint: str
    slow: int | None


class _Part(NamedTuple):
    """What one worker is asked of a question."""

    partitions: list[int]
    question: Struct


class WorkerClient:
    """Use it inside a running loop. `stage` is the first part of the endpoints' path
    (/sequencer/heads/); `partitions` is how many its topics have."""

    def __init__(
        self, stage: str, partitions: int, owners: Owners, transport: WorkerTransport
    ) -> None:
        self.partitions = partitions
        self._stage = stage
        self._transport = transport
        self.under_way = 0
        self._pages: Counter[int] = Counter()
        """partition → pages under way."""
        self._slow: dict[int, float] = {}
        """partition → loop time until which it counts as slow."""
        self._claims = Claims(owners)
        self._ways: dict[_Way, RequestBatcher[_Part, Mapping[int, Any]]] = {}
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
        answer: msgspec.json.Decoder[list[dict[int, _Found]]],
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
        answer: msgspec.json.Decoder[list[dict[int, _Found]]],
        partitions: Iterable[int],
        question: Callable[[list[int]], Struct],
    ) -> tuple[dict[int, _Found], bool]:
        """(partition → answer, whether it is complete). Raises WorkersUnavailable.

        A partition's answer is complete if the worker that gave it is the owner afterwards. An
        owner claims a partition before it looks for any route, and its answer covers all that it
        has folded. So its answer holds every message that was delivered before the asking device
        had its route.
        """
        wanted = list(partitions)
        if not wanted:
            return {}, True
        with self._counted():
            found, told = await self._ask_all(endpoint, answer, wanted, question)
            after = await self._claims.find(wanted)
        return found, all(
            number in found and told[number] == after.get(number) for number in wanted
        )

    async def ask_any(
        self,
        endpoint: str,
        answer: msgspec.json.Decoder[list[dict[int, _Found]]],
        partitions: Iterable[int],
        question: Callable[[list[int]], Struct],
    ) -> dict[int, _Found]:
        """partition → answer, for answers that are right whichever worker gives them. Raises
        WorkersUnavailable."""
        with self._counted():
            return (await self._ask_all(endpoint, answer, list(partitions), question))[0]

    async def ask_owner(
        self, conversation: str, endpoint: str, query: Mapping[str, str]
    ) -> tuple[int, bytes]:
        """(status, body) of the owner of a conversation's partition. Raises WorkersUnavailable."""
        partition = partition_of(conversation, self.partitions)
        if self._is_slow(partition) and self._pages[partition] >= _MAX_SLOW_REQUESTS:
            raise WorkersUnavailable(f"{self._stage} {partition} is slow, and others wait for it")
        self._pages[partition] += 1
        try:
            with self._counted():
                return await self._ask_for_page(partition, endpoint, query)
        finally:
            self._pages[partition] -= 1

    async def _ask_for_page(
        self, partition: int, endpoint: str, query: Mapping[str, str]
    ) -> tuple[int, bytes]:
        async def ask(address: str) -> tuple[int, bytes]:
            url = f"//{address}/{self._stage}/{endpoint}/{partition}/"
            return await self._request("GET", url, [partition], _PAGE_SECONDS, params=query)

        known = self._claims.known.get(partition)
        if known is not None:
            with contextlib.suppress(WorkersUnavailable):
                status, body = await ask(known)
                if status != 404:
                    return status, body
        address = (await self._claims.find([partition])).get(partition)
        if address is None or address == known:
            raise WorkersUnavailable(f"no worker answers for {self._stage} {partition}")
        return await ask(address)

    async def _ask_all(
        self,
        endpoint: str,
        answer: msgspec.json.Decoder[list[dict[int, _Found]]],
        wanted: list[int],
        question: Callable[[list[int]], Struct],
    ) -> tuple[dict[int, _Found], dict[int, str]]:
        """(partition → answer, partition → who gave it). Each worker is asked once for all its
        partitions, but for each slow one by itself. Partitions whose owner was not known, or is
        another by now, are asked about once more."""
        found: dict[int, _Found] = {}
        told: dict[int, str] = {}
        known = self._claims.known
        asked: Mapping[int, str] = {n: known[n] for n in wanted if n in known}
        for again in (True, False):
            parts = self._parts(endpoint, asked)
            asking = [self._ask(way, answer, _Part(some, question(some))) for way, some in parts]
            # mostly there is one, and a task of its own would cost more than the question
            answers = [await asking[0]] if len(asking) == 1 else await asyncio.gather(*asking)
            for (way, _), some_found in zip(parts, answers, strict=True):
                found |= some_found
                told |= dict.fromkeys(some_found, way.address)
            missing = [number for number in wanted if number not in found]
            if missing and again:
                owners, before = await self._claims.find(missing), asked
                asked = {
                    number: owners[number]
                    for number in missing
                    if number in owners and owners[number] != before.get(number)
                }
            else:
                break
        return found, told

    def _parts(self, endpoint: str, owners: Mapping[int, str]) -> list[tuple[_Way, list[int]]]:
        parts: dict[_Way, list[int]] = {}
        for partition, address in owners.items():
            slow = partition if self._is_slow(partition) else None
            parts.setdefault(_Way(address, endpoint, slow), []).append(partition)
        return list(parts.items())

    async def _ask(
        self, way: _Way, answer: msgspec.json.Decoder[list[dict[int, _Found]]], part: _Part
    ) -> Mapping[int, _Found]:
        """partition → answer of one worker; nothing, if it does not answer."""
        if way not in self._ways:
            if len(self._ways) >= _MAX_WAYS:
                self._ways.clear()  # what is under way goes on
            self._ways[way] = RequestBatcher(
                lambda parts: self._ask_together(way, answer, parts),
                _REQUESTS,
                _TOGETHER,
                _PATIENCE_SECONDS,
            )
        return await self._ways[way](part)

    async def _ask_together(
        self,
        way: _Way,
        answer: msgspec.json.Decoder[list[dict[int, _Found]]],
        parts: Sequence[_Part],
    ) -> Sequence[Mapping[int, _Found]]:
        url = f"//{way.address}/{self._stage}/{way.endpoint}/"
        partitions = {partition for part in parts for partition in part.partitions}
        body = msgspec.json.encode([part.question for part in parts])
        seconds = _ANSWER_SECONDS if way.slow is None else _SLOW_ANSWER_SECONDS
        began = self._clock()
        try:
            status, found = await self._request("POST", url, partitions, seconds, body=body)
            if self._clock() - began > _SLOW_ANSWER_SECONDS:
                self._are_slow(partitions)
            if status == 200:
                answers = answer.decode(found)
                if len(answers) == len(parts):
                    return answers
            self._unanswered(f"{url}: {status}")
        except (WorkersUnavailable, *UNDECODABLE) as error:
            self._unanswered(f"{url}: {error}")
        return [{}] * len(parts)

    def _is_slow(self, partition: int) -> bool:
        return self._slow.get(partition, 0.0) > self._clock()

    def _are_slow(self, partitions: Iterable[int]) -> None:
        self._slow |= dict.fromkeys(partitions, self._clock() + _SLOW_SECONDS)

    @contextlib.contextmanager
    def _counted(self) -> Iterator[None]:
        if self.under_way >= MAX_UNDER_WAY:
            raise WorkersUnavailable(f"{self.under_way} questions are under way")
        self.under_way += 1
        try:
            yield
        finally:
            self.under_way -= 1

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
        try:
            async with asyncio.timeout(seconds):
                answer = await self._transport.request(method, url, body, params)
        except TimeoutError:
            self._are_slow(partitions)
            raise WorkersUnavailable(f"{url}: no answer within {seconds:g} s") from None
        for partition in partitions:
            self._slow.pop(partition, None)
        return answer
