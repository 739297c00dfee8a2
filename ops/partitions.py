"""The partitions of all stages, asked of the workers that have them."""

import asyncio
from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

import aiohttp

from connectors.redis.owners import Owners
from ops.worker_pages import login, page_url, trusted_workers

CLAIMED = ("sequencer", "cursors", "presence", "memberships", "people")
"""The stages whose partitions workers claim in Redis. The archiver's nobody asks."""
_ANSWER_SECONDS = 3.0


class Place(NamedTuple):
    """A partition as its worker reports it; `worker` is host:port. Without a report: nobody has it,
    or `problem` says why it is not known."""

    stage: str
    number: int
    worker: str
    report: Mapping[str, Any]
    problem: str = ""

    @property
    def state(self) -> str:
        return str(self.report.get("status", "unknown"))

    @property
    def skips(self) -> tuple[int, int] | None:
        """The input offsets, first and last, that an operator may set aside."""
        skips = self.report.get("skips")
        return (skips[0], skips[1]) if skips else None


async def look(
    owners: Mapping[str, Owners], partitions: int, workers: Iterable[str]
) -> list[Place]:
    """All partitions, by stage and number. `owners` are those of each stage in CLAIMED. Beside the
    workers that claim partitions it asks `workers` (host:port). Raises RedisUnavailable."""
    claims = {stage: await one.find(range(partitions)) for stage, one in owners.items()}
    addresses = {address for found in claims.values() for address in found.values()}
    addresses |= set(workers)
    pages = await _pages(sorted(addresses))
    places: dict[tuple[str, int], Place] = {}
    for address, page in pages.items():
        for stage, reports in (page if isinstance(page, dict) else {}).items():
            for report in reports:
                name = stage, int(report["partition"])
                place = Place(*name, address, report)
                if name not in places or claims.get(stage, {}).get(name[1]) == address:
                    places[name] = place
    for stage, found in claims.items():
        for number in range(partitions):
            if (stage, number) not in places:
                address = found.get(number, "")
                page = pages.get(address, {})
                why = page if isinstance(page, str) else "no worker says that it has it"
                places[stage, number] = Place(stage, number, address, {}, why)
    return [places[name] for name in sorted(places)]


async def _pages(addresses: Collection[str]) -> dict[str, dict[str, Any] | str]:
    """address → its page, or why there is none."""
    timeout = aiohttp.ClientTimeout(total=_ANSWER_SECONDS)
    connector = aiohttp.TCPConnector(ssl=trusted_workers())
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:

        async def page(address: str) -> dict[str, Any] | str:
            try:
                url = f"{page_url(address)}/partitions/"
                asked = session.get(url, headers=login(url), allow_redirects=False)
                async with asked as answer:
                    answer.raise_for_status()
                    found: dict[str, Any] = await answer.json()
                    return found
            except (aiohttp.ClientError, TimeoutError, ValueError) as error:
                return f"its worker does not answer: {error or type(error).__name__}"

        found = await asyncio.gather(*map(page, addresses))
    return dict(zip(addresses, found, strict=True))
