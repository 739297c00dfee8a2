"""Asks the owner of a user's memberships which partitions of the log to ask about the user
(R11)."""

import msgspec

from gateway.queries.worker_client import WorkerClient
from gateway.queries.worker_transport import WorkersUnavailable
from schemas.ids import partition_of
from schemas.worker_api import MembershipsAnswer, MembershipsQuestion

_partitions = msgspec.json.Decoder(list[MembershipsAnswer])


class MembershipQueries:
    """`workers` are the memberships' workers."""

    def __init__(self, workers: WorkerClient) -> None:
        self._workers = workers

    async def partitions(self, user: str) -> list[int]:
        """The partitions to ask, in order. Whatever any other partition delivers to the user, it
        looks up routes for after this call. Raises WorkersUnavailable."""
        number = partition_of(user, self._workers.partitions)
        question = MembershipsQuestion({number: [user]})
        found = await self._workers.ask_any("partitions", _partitions, [number], lambda _: question)
        if number not in found:
            raise WorkersUnavailable(f"no worker answers for memberships {number}")
        return found[number][0]
