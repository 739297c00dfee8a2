"""What devices have missed: asked of the workers that have the partitions (R9), found by their claims in Redis."""

import asyncio
import logging
from collections.abc import Mapping, Sequence

import aiohttp
import msgspec

from connectors.redis.client import RedisUnavailable
from connectors.redis.owners import Owners
from schemas.codec import UNDECODABLE, split_frames
from schemas.frames import MAX_HEADS, Heads, Sync
from schemas.ids import partition_of

log = logging.getLogger(__name__)

_TIMEOUT_SECONDS = 5.0
_MAX_CONNECTIONS = 64
"""Requests under way at all workers; more wait, within the timeout."""

_heads = msgspec.json.Decoder(dict[str, int])


class _PageHead(msgspec.Struct):
    known: int


_page_head = msgspec.json.Decoder(_PageHead)


class RangesUnavailable(Exception):
    """No worker answers for the partition now; try again."""


class RangeGone(Exception):
    """The log no longer holds the beginning of the range."""


def merge_heads(id_: int, found: Sequence[Mapping[str, int]]) -> Heads:
    """One answer of the partitions' answers: a partition that was cut short knows nothing after its last."""
    cut = min((max(heads) for heads in found if len(heads) >= MAX_HEADS), default="")
    heads = sorted((name, seq) for some in found for name, seq in some.items() if not cut or name <= cut)
    if len(heads) > MAX_HEADS:
        heads = heads[:MAX_HEADS]
        cut = heads[-1][0]
    return Heads(id_, dict(heads), cut)


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
        """What is new to a device, from all partitions. Raises RangesUnavailable."""
        asked: list[dict[str, int]] = [{} for _ in range(self._partitions)]
        for conversation, cursor in sync.cursors.items():
            asked[partition_of(conversation, self._partitions)][conversation] = cursor
        addresses = await self._find(range(self._partitions))
        answers = await asyncio.gather(
            *(
                self._ask(
                    "POST",
                    f"http://{addresses[partition]}/sequencer/heads/{partition}/",
                    msgspec.json.encode({"user": user, "after": sync.after, "until": sync.until, "cursors": cursors}),
                )
                for partition, cursors in enumerate(asked)
            )
        )
        try:
            found = [_heads.decode(answer) for answer in answers]
        except UNDECODABLE as error:
            raise RangesUnavailable(f"a worker's answer cannot be read: {error}") from None
        return merge_heads(sync.id, found)

    async def page(self, conversation: str, after: int, limit: int) -> tuple[int, list[bytes]]:
        """(last seq known, `message` frames after+1, after+2 …). Raises RangesUnavailable, RangeGone."""
        partition = partition_of(conversation, self._partitions)
        address = (await self._find([partition]))[partition]
        query = {"conversation": conversation, "after": str(after), "limit": str(limit)}
        answer = await self._ask("GET", f"http://{address}/sequencer/page/{partition}/", params=query)
        head, *frames = split_frames(answer)
        try:
            return _page_head.decode(head).known, frames
        except UNDECODABLE as error:
            raise RangesUnavailable(f"a worker's answer cannot be read: {error}") from None

    async def _find(self, partitions: Sequence[int]) -> Mapping[int, str]:
        try:
            found = await self._owners.find(partitions)
        except RedisUnavailable as error:
            raise RangesUnavailable(str(error)) from None
        missing = [partition for partition in partitions if partition not in found]
        if missing:
            raise RangesUnavailable(f"no worker claims partition {missing[0]}")
        return found

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
