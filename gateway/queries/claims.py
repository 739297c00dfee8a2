"""Which worker claims a partition: as of the last look, or as of now."""

from collections.abc import Mapping, Sequence

from connectors.redis.client import RedisUnavailable
from connectors.redis.owners import Owners
from connectors.request_batcher import RequestBatcher
from gateway.queries.worker_transport import WorkersUnavailable

_TOGETHER = 5_000


class Claims:
    """The claims of one stage's workers. `known`: partition → owner, as of the last look."""

    def __init__(self, owners: Owners) -> None:
        self.known: dict[int, str] = {}
        self._owners = owners
        self._looks = RequestBatcher(self._look, at_once=1, most=_TOGETHER)

    async def find(self, partitions: Sequence[int]) -> Mapping[int, str]:
        """partition → owner now, of these and maybe of others. Those who ask at the same time share
        one look, which begins after they have asked. Raises WorkersUnavailable."""
        try:
            return await self._looks(partitions)
        except RedisUnavailable as error:
            raise WorkersUnavailable(str(error)) from None

    async def _look(self, asked: Sequence[Sequence[int]]) -> list[Mapping[int, str]]:
        partitions = sorted({partition for some in asked for partition in some})
        found = await self._owners.find(partitions)
        for partition in partitions:
            self.known.pop(partition, None)
        self.known |= found
        return [found] * len(asked)
