"""The sequencer's rules on the topics of a `World`, without Faust and RocksDB."""

import asyncio

from agents.rules.batch import fold_records
from agents.rules.fanout import deliveries, users_of
from agents.rules.fold import FoldState
from agents.rules.fold_view import InMemoryFoldView
from connectors.redis.memory import MemoryRoutes
from connectors.redis.memory_server import MemoryRedis
from schemas.topics import SUBMITTED
from tests.harness.memory_node import World

_PAUSE_SECONDS = 0.002


class MemorySequencer:
    """Folds what is submitted, and delivers it by the routes, while `awake`."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._routes = MemoryRoutes(MemoryRedis(world.server))
        self._state = FoldState(InMemoryFoldView())
        self._read = 0
        self.awake = True

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(_PAUSE_SECONDS)
            if self.awake:
                await self._work()

    async def _work(self) -> None:
        log = self._world.broker.log(SUBMITTED, 0)
        records = log.read(self._read, log.end)
        if not records:
            return
        self._read = log.end
        for batch in fold_records(self._state, records):
            taken, answers = batch.outcome.taken, batch.outcome.answers
            routes = await self._routes.lookup(list(users_of(taken, answers)))
            for slot, events in deliveries(taken, answers, routes).items():
                self._world.deliver(slot, *events)
