"""Presence: `presence.submitted` → `presence` and `deliveries`. The decisions are
agents/rules/presence.py."""

import asyncio
import logging
import time
from collections import Counter
from pathlib import Path

from agents.presence.partition import PresencePartition
from agents.settings import WorkerSettings
from agents.table_stage.app import make_folding_app
from agents.table_stage.io import TableStageIO
from agents.worker_api import add_question
from connectors.redis.client import RedisUnavailable
from connectors.redis.watchers import Watchers
from schemas.topics import PRESENCE_SUBMITTED
from schemas.worker_api import PresenceAnswer, PresenceQuestion
from streams.earlier_stage import GoOn
from streams.faust_adapter.app import PipelineApp
from streams.tables.rocks import RocksBudget

GROUP = "presence"
_LOOK_SECONDS = 0.5

log = logging.getLogger(__name__)


def make_presence(
    outside: TableStageIO, watchers: Watchers, settings: WorkerSettings, budget: RocksBudget
) -> PipelineApp:
    """The presence stage's Faust app. Call it inside the loop it will run in; await its `closing`
    after it has stopped."""

    def make(number: int, figures: Counter[str], go_on: GoOn) -> PresencePartition:
        return PresencePartition(
            number, outside, watchers, Path(settings.state_dir), budget, figures, go_on
        )

    app, stage = make_folding_app(
        GROUP, PRESENCE_SUBMITTED, outside, make, settings, settings.partitions
    )

    @app.timer(_LOOK_SECONDS)
    async def look() -> None:
        asked = time.monotonic()
        try:
            holders = await outside.routes.nodes(settings.slots)
        except RedisUnavailable as error:
            log.debug("the nodes cannot be looked at: %s", error)
            return
        await asyncio.gather(
            *(partition.look(asked, holders) for partition in stage.partitions.values())
        )

    async def answer(question: PresenceQuestion) -> PresenceAnswer:
        owned = (
            (number, stage.partitions.get(number), users)
            for number, users in question.users.items()
        )
        found = {
            number: partition.presence(users)
            for number, partition, users in owned
            if partition is not None
        }
        return {number: users for number, users in found.items() if users is not None}

    add_question(app, "/presence/users/", PresenceQuestion, answer)
    return app
