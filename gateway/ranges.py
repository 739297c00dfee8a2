"""What devices have missed: asked of the workers that have the partitions (R9), found by their claims in Redis."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Mapping

import aiohttp
import msgspec

from connectors.redis.client import RedisUnavailable
from connectors.redis.owners import Owners
from schemas.codec import UNDECODABLE, split_frames
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

    async def heads(self, cursors: Mapping[str, int]) -> dict[str, int]:
        """conversation → last seq, of those that have gone on after their cursor. Raises RangesUnavailable."""
        asked: dict[int, dict[str, int]] = defaultdict(dict)
        for conversation, cursor in cursors.items():
            asked[partition_of(conversation, self._partitions)][conversation] = cursor
        addresses = await self._find(asked)
        answers = await asyncio.gather(
            *(
                self._ask("POST", f"http://{addresses[partition]}/sequencer/heads/{partition}/", msgspec.json.encode(some))
                for partition, some in asked.items()
            )
        )
        try:
            return {conversation: seq for answer in answers for conversation, seq in _heads.decode(answer).items()}
        except UNDECODABLE as error:
            raise RangesUnavailable(f"a worker's answer cannot be read: {error}") from None

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

    async def _find(self, partitions: "list[int] | dict[int, dict[str, int]]") -> Mapping[int, str]:
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
