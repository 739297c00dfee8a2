"""Which partitions to ask about a user: those that hold the user's conversations, if Redis knows
them; else all, once.

It saves work and decides nothing: a partition is left out only if nothing of the user's has been
delivered from it. The argument is in docs/DESIGN.md.
"""

import logging
from collections.abc import Sequence

import msgspec

from connectors.redis.client import RedisUnavailable
from connectors.redis.user_partitions import UserPartitions
from gateway.queries.worker_client import WorkerClient, WorkersUnavailable
from schemas.worker_api import HoldingAnswer, HoldingQuestion

log = logging.getLogger(__name__)

_holding = msgspec.json.Decoder(HoldingAnswer)


class PartitionLookup:
    """Counts how often a user was `known`, `asked_everywhere` for, and of the latter `filled`:
    known from then on."""

    def __init__(self, directory: UserPartitions, sequencers: WorkerClient) -> None:
        self._directory = directory
        self._sequencers = sequencers
        self.known = 0
        self.asked_everywhere = 0
        self.filled = 0

    async def find(self, user: str) -> Sequence[int]:
        """The partitions to ask, in order. What is delivered from any other is delivered after the
        call. Raises WorkersUnavailable."""
        try:
            entry = await self._directory.find(user)
        except RedisUnavailable as error:
            raise WorkersUnavailable(str(error)) from None
        if entry.mark is None:
            self.known += 1
            return sorted(entry.partitions)
        self.asked_everywhere += 1
        everywhere = range(self._sequencers.partitions)
        holding, complete = await self._sequencers.ask_owners(
            "holding", _holding, everywhere, lambda theirs: HoldingQuestion(user, theirs)
        )
        where = [partition for partition in everywhere if holding.get(partition, True)]
        if complete:
            await self._fill(user, entry.mark, where)
        return where

    async def _fill(self, user: str, mark: str, partitions: Sequence[int]) -> None:
        try:
            self.filled += await self._directory.complete(user, mark, partitions)
        except RedisUnavailable as error:
            log.debug("%s is asked for everywhere again: %s", user, error)
