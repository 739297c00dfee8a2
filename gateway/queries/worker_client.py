"""A stage's workers, asked over the pages of their monitors, and found by their claims in Redis."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

import aiohttp
import msgspec
from msgspec import Struct

from connectors.redis.client import RedisUnavailable
from connectors.redis.owners import Owners
from gateway.log_throttle import LogThrottle
from schemas.codec import UNDECODABLE
from schemas.ids import partition_of

log = logging.getLogger(__name__)

_Found = TypeVar("_Found")

_TIMEOUT_SECONDS = 5.0
MAX_REQUESTS = 64
"""At one worker at a time; more wait, within the timeout. One that does not answer keeps none of
the others waiting."""
MAX_UNDER_WAY = 5_000
"""Asked or waiting to be, at all workers, at 8 KiB each; more are unavailable at once."""


class WorkersUnavailable(Exception):
    """No worker answers for the partition now; try again."""


class WorkerClient:
    """Use it inside a running loop; close it. `stage` names the pages: /{stage}/..."""

    def __init__(self, stage: str, owners: Owners, partitions: int) -> None:
        self.partitions = partitions
        self._stage = stage
        self._owners = owners
        self.under_way = 0
        self._unanswered = LogThrottle(log.info)
        self._http = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=_TIMEOUT_SECONDS),
            connector=aiohttp.TCPConnector(limit=0, limit_per_host=MAX_REQUESTS),
        )

    async def close(self) -> None:
        await self._http.close()

    async def ask_owners(
        self,
        page: str,
        answer: msgspec.json.Decoder[dict[int, _Found]],
        partitions: Iterable[int],
        question: Callable[[list[int]], Struct],
    ) -> tuple[dict[int, _Found], bool]:
        """(partition → answer, whether it is complete), each worker asked once for the partitions
        it has. Raises WorkersUnavailable.

        A partition's answer holds everything that was told before the asking device had its route,
        if its owner is the same before and after: an owner claims a partition before it looks for
        any route, and answers for all it has folded.
        """
        wanted = list(partitions)
        if not wanted:
            return {}, True
        before = await self._find(wanted)
        asked: dict[str, list[int]] = {}
        for partition, address in before.items():
            asked.setdefault(address, []).append(partition)
        answers = await asyncio.gather(
            *(
                self._ask_for(address, page, answer, question(theirs))
                for address, theirs in asked.items()
            )
        )
        found = {partition: one for some in answers for partition, one in some.items()}
        after = await self._find(wanted)
        return found, all(
            number in found and before.get(number) == after.get(number) for number in wanted
        )

    async def ask_owner(
        self, conversation: str, page: str, query: Mapping[str, str]
    ) -> tuple[int, bytes]:
        """(status, body) of the owner of a conversation's partition. Raises WorkersUnavailable."""
        partition = partition_of(conversation, self.partitions)
        address = (await self._find([partition])).get(partition)
        if address is None:
            raise WorkersUnavailable(f"no worker claims partition {partition}")
        return await self._request(
            "GET", f"http://{address}/{self._stage}/{page}/{partition}/", params=query
        )

    async def _ask_for(
        self,
        address: str,
        page: str,
        answer: msgspec.json.Decoder[dict[int, _Found]],
        question: Struct,
    ) -> dict[int, _Found]:
        """partition → answer of one worker; nothing, if it does not answer."""
        url = f"http://{address}/{self._stage}/{page}/"
        try:
            status, body = await self._request("POST", url, msgspec.json.encode(question))
            if status == 200:
                return answer.decode(body)
            self._unanswered(f"{url}: {status}")
        except (WorkersUnavailable, *UNDECODABLE) as error:
            self._unanswered(f"{url}: {error}")
        return {}

    async def _find(self, partitions: Iterable[int]) -> Mapping[int, str]:
        try:
            return await self._owners.find(partitions)
        except RedisUnavailable as error:
            raise WorkersUnavailable(str(error)) from None

    async def _request(
        self,
        method: str,
        url: str,
        body: bytes | None = None,
        params: Mapping[str, str] | None = None,
    ) -> tuple[int, bytes]:
        if self.under_way >= MAX_UNDER_WAY:
            raise WorkersUnavailable(f"{self.under_way} questions are under way")
        self.under_way += 1
        try:
            async with self._http.request(method, url, data=body, params=params) as response:
                return response.status, await response.read()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise WorkersUnavailable(f"{url}: {error!r}") from None
        finally:
            self.under_way -= 1
