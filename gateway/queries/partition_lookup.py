"""Which partitions to ask about a user: those with the user's conversations, if Redis knows them;
else all of them, once.

This saves work and decides nothing. A partition is left out only if nothing of the user's has been
delivered from it; decision 11 (docs/decisions) has the proof.
"""

import logging
from collections.abc import Sequence

import msgspec

from connectors.redis.client import RedisUnavailable
from connectors.redis.user_partitions import UserPartitions
from gateway.queries.worker_client import WorkerClient
from gateway.queries.worker_transport import WorkersUnavailable
from schemas.worker_api import HoldingAnswer, HoldingQuestion

log = logging.getLogger(__name__)

_holding = msgspec.json.Decoder(HoldingAnswer)


class PartitionLookup:
    """Counts the users that were `known`, those `asked_everywhere` for, and of the latter those
    that are known from then on (`filled`)."""

    def __init__(self, user_partitions: UserPartitions, sequencers: WorkerClient) -> None:
        self._user_partitions = user_partitions
        self._sequencers = sequencers
        self.known = 0
        self.asked_everywhere = 0
        self.filled = 0

    async def find(self, user: str) -> Sequence[int]:
        """The partitions to ask, in order. Whatever any other partition delivers to the user, it
        delivers after this call. Raises WorkersUnavailable."""
        try:
            entry = await self._user_partitions.find(user)
        except RedisUnavailable as error:
            raise WorkersUnavailable(str(error)) from None
        if entry.fill_token is None:
            self.known += 1
            return sorted(entry.partitions)
        self.asked_everywhere += 1
        everywhere = range(self._sequencers.partitions)
        holding, complete = await self._sequencers.ask_owners(
            "holding", _holding, everywhere, lambda theirs: HoldingQuestion(user, theirs)
        )
        where = [partition for partition in everywhere if holding.get(partition, True)]
        if complete:
            await self._fill(user, entry.fill_token, where)
        return where

    async def _fill(self, user: str, fill_token: str, partitions: Sequence[int]) -> None:
        try:
            self.filled += await self._user_partitions.complete(user, fill_token, partitions)
        except RedisUnavailable as error:
            log.debug("%s will be asked for everywhere again: %s", user, error)
