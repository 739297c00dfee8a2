"""What devices have missed: asked of the workers that have the partitions (R9), found by their claims in Redis."""

import asyncio
import heapq
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

import aiohttp
import msgspec
from msgspec import Struct

from connectors.redis.client import RedisUnavailable
from connectors.redis.owners import Owners
from schemas.codec import UNDECODABLE, split_frames
from schemas.frames import MAX_HEADS, Heads, Sync
from schemas.ids import partition_of
from schemas.ranges import HeadsAnswer, HeadsQuestion, Newest, NewestAnswer, NewestQuestion, PageHead

log = logging.getLogger(__name__)

_Found = TypeVar("_Found")

_TIMEOUT_SECONDS = 5.0
_MAX_CONNECTIONS = 64
"""Requests under way at all workers; more wait, within the timeout."""

_heads = msgspec.json.Decoder(HeadsAnswer)
_newest = msgspec.json.Decoder(NewestAnswer)
_page_head = msgspec.json.Decoder(PageHead)


class RangesUnavailable(Exception):
    """No worker answers for the partition now; try again."""


class RangeGone(Exception):
    """The log no longer holds the beginning of the range."""


def merge_heads(id_: int, found: Sequence[Mapping[str, int]], pending: bool) -> Heads:
    """One answer of the partitions' answers: a partition that was cut short knows nothing after its last.

    `pending`: there are partitions without an answer.
    """
    cut = min((max(heads) for heads in found if len(heads) >= MAX_HEADS), default="")
    heads = sorted((name, seq) for some in found for name, seq in some.items() if not cut or name <= cut)
    if len(heads) > MAX_HEADS:
        heads = heads[:MAX_HEADS]
        cut = heads[-1][0]
    return Heads(id_, dict(heads), cut, pending)


def _by_address(owners: Mapping[int, str]) -> dict[str, list[int]]:
    """address → the partitions it has."""
    found: dict[str, list[int]] = {}
    for partition, address in owners.items():
        found.setdefault(address, []).append(partition)
    return found


class Ranges:
    """Use it inside a running loop; close it."""

    def __init__(self, owners: Owners, partitions: int) -> None:
        self._owners = owners
        self._partitions = partitions
        self._http = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=_TIMEOUT_SECONDS), connector=aiohttp.TCPConnector(limit=_MAX_CONNECTIONS)
        )

    async def close(self) -> None:
        await self._http.close()

    async def heads(self, user: str, sync: Sync) -> Heads:
        """What is new to a device, from all partitions that answer; `pending` if some do not. Raises RangesUnavailable.

        A partition's answer holds everything that was delivered before the device had its route, if its owner is the same
        before and after: an owner claims a partition before it looks for any route, and answers for all it has folded.
        """
        cursors: dict[int, dict[str, int]] = {partition: {} for partition in range(self._partitions)}
        for conversation, cursor in sync.cursors.items():
            cursors[partition_of(conversation, self._partitions)][conversation] = cursor
        owners = await self._find(cursors)
        answers = await asyncio.gather(
            *(
                self._ask_for(
                    *(address, "heads", _heads),
                    HeadsQuestion(user, sync.after, sync.until, {partition: cursors[partition] for partition in asked}),
                )
                for address, asked in _by_address(owners).items()
            )
        )
        found = {partition: heads for answer in answers for partition, heads in answer.items()}
        owners_after = await self._find(cursors)
        complete = all(partition in found and owners.get(partition) == owners_after.get(partition) for partition in cursors)
        return merge_heads(sync.id, list(found.values()), not complete)

    async def newest(self, user: str, limit: int, before: tuple[int, str] | None) -> list[Newest]:
        """A user's conversations, last written first, before (time, conversation) `before`. Raises RangesUnavailable."""
        owners = await self._find(range(self._partitions))
        answers = await asyncio.gather(
            *(
                self._ask_for(address, "newest", _newest, NewestQuestion(user, limit, before, asked))
                for address, asked in _by_address(owners).items()
            )
        )
        found = {partition: newest for answer in answers for partition, newest in answer.items()}
        if len(found) < self._partitions:
            raise RangesUnavailable("not all partitions answer")
        return heapq.nlargest(limit, (one for newest in found.values() for one in newest))

    async def _ask_for(
        self, address: str, what: str, answer: msgspec.json.Decoder[dict[int, _Found]], question: Struct
    ) -> dict[int, _Found]:
        """partition → answer of one worker; nothing, if it does not answer."""
        try:
            return answer.decode(await self._ask("POST", f"http://{address}/sequencer/{what}/", msgspec.json.encode(question)))
        except (RangesUnavailable, *UNDECODABLE) as error:
            log.info("%s does not answer for %s: %s", address, what, error)
            return {}

    async def page(self, conversation: str, after: int, limit: int) -> tuple[int, list[bytes]]:
        """(last seq known, `message` frames after+1, after+2 …). Raises RangesUnavailable, RangeGone."""
        partition = partition_of(conversation, self._partitions)
        address = (await self._find([partition])).get(partition)
        if address is None:
            raise RangesUnavailable(f"no worker claims partition {partition}")
        query = {"conversation": conversation, "after": str(after), "limit": str(limit)}
        answer = await self._ask("GET", f"http://{address}/sequencer/page/{partition}/", params=query)
        head, *frames = split_frames(answer)
        try:
            return _page_head.decode(head).known, frames
        except UNDECODABLE as error:
            raise RangesUnavailable(f"a worker's answer cannot be read: {error}") from None

    async def _find(self, partitions: Iterable[int]) -> Mapping[int, str]:
        try:
            return await self._owners.find(partitions)
        except RedisUnavailable as error:
            raise RangesUnavailable(str(error)) from None

    async def _ask(self, method: str, url: str, body: bytes | None = None, params: Mapping[str, str] | None = None) -> bytes:
        try:
            async with self._http.request(method, url, data=body, params=params) as response:
                answer = await response.read()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise RangesUnavailable(f"{url}: {error!r}") from None
        if response.status == 410:
            raise RangeGone
        if response.status != 200:
            raise RangesUnavailable(f"{url}: {response.status}")
        return answer
