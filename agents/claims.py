"""Saying in Redis which partitions this worker has, so that gateways ask it about them."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

from connectors.redis.client import RedisUnavailable
from connectors.redis.owners import Owners
from streams.stage import Stage, Timer

log = logging.getLogger(__name__)

CLAIM_SECONDS = 1.0
"""How often the claims are renewed."""
_RETRY_SECONDS = 0.5


def renew_claims(stage: Stage[Any], owners: Owners, address: str) -> Timer:
    """A stage's timer that renews the claims of the worker at `address`."""
    return Timer(CLAIM_SECONDS, lambda: owners.keep(stage.readable, address))


async def claim(owners: Owners, partition: int, address: str) -> None:
    """Say that the worker at `address` has a partition; returns when it is said, however long Redis
    is away."""
    while True:
        try:
            await owners.take(partition, address)
            return
        except RedisUnavailable as error:
            log.info("partition %d is not claimed yet: %s", partition, error)
            await asyncio.sleep(_RETRY_SECONDS)


async def keep_claims(owners: Owners, partitions: Sequence[int], address: str) -> None:
    """Renew the claims, if Redis takes them now."""
    try:
        await owners.keep(partitions, address)
    except RedisUnavailable as error:
        log.debug("partitions are not claimed now: %s", error)
