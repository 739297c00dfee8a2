"""Presence: `presence.submitted` → `presence` and `deliveries`. The decisions are
agents/rules/presence.py."""

import asyncio

from agents.claims import renew_claims
from agents.presence.partition import PresencePartition
from connectors.redis.routes import Routes
from connectors.redis.watchers import Watchers
from schemas.topics import PRESENCE_SUBMITTED
from schemas.worker_api import PresenceAnswer, PresenceQuestion
from streams.stage import Stage, StageSpec, Timer
from streams.table_partition import TableIO
from streams.tables.presence import PresenceTable
from streams.worker_api import Handler, Request, Response, answering, each, json_response

GROUP = "presence"
_LOOK_SECONDS = 1.0

PresenceStage = Stage[PresencePartition]


def presence_stage(
    io: TableIO[PresenceTable], routes: Routes, watchers: Watchers, partitions: int, slots: int
) -> StageSpec[PresencePartition]:
    """The stage, for topics of so many partitions, and gateways with so many slots."""

    def look(stage: PresenceStage) -> Timer:
        async def run() -> None:
            asked = asyncio.get_running_loop().time()
            holders = await routes.nodes(slots)
            # A worker that was cut off may know less of a node's users than its successor.
            mine = stage.here(list(stage.partitions))
            looks = [partition.look(asked, holders) for partition in mine.values()]
            for result in await asyncio.gather(*looks, return_exceptions=True):
                if isinstance(result, BaseException):
                    raise result

        return Timer(_LOOK_SECONDS, run)

    return StageSpec(
        GROUP,
        io.group,
        PRESENCE_SUBMITTED,
        partitions,
        lambda number, runtime: PresencePartition(number, runtime, io, watchers),
        timers=lambda stage: [renew_claims(stage, io.owners, io.address), look(stage)],
        endpoints=_endpoints,
    )


def _endpoints(stage: PresenceStage) -> dict[str, Handler]:
    async def status(request: Request) -> Response:
        figures = "facts", "changed", "told", "unreadable", "lost_records", "events"
        return json_response(stage.status(*figures, rate="facts"))

    async def users(question: PresenceQuestion) -> PresenceAnswer:
        asked = question.users
        return {
            number: partition.presence(asked[number])
            for number, partition in stage.here(asked).items()
            if not question.whole or await partition.caught_up()
        }

    return {"/presence/": status, "/presence/users/": answering(PresenceQuestion, each(users))}
