"""The cursors: `receipts.submitted` → `cursors` and `deliveries`. The decisions are
agents/rules/cursors.py."""

from agents.claims import renew_claims
from agents.cursors.partition import CursorsPartition
from agents.route_lookups import RouteLookups
from connectors.redis.routes import Routes
from schemas.topics import RECEIPTS
from schemas.worker_api import DevicesAnswer, DevicesQuestion, MarksAnswer, MarksQuestion
from streams.stage import Stage, StageSpec
from streams.table_partition import TableIO
from streams.tables.cursors import CursorTable
from streams.worker_api import Handler, Request, Response, answering, each, json_response

GROUP = "cursors"
_COLLECT_SECONDS = 0.005
"""The partitions that fold at one moment look for routes together."""

CursorsStage = Stage[CursorsPartition]


def cursors_stage(
    io: TableIO[CursorTable], routes: Routes, partitions: int
) -> StageSpec[CursorsPartition]:
    """The stage, for topics of so many partitions. Make it inside a running loop."""
    lookups = RouteLookups(routes, _COLLECT_SECONDS)
    return StageSpec(
        GROUP,
        io.group,
        RECEIPTS,
        partitions,
        lambda number, runtime: CursorsPartition(number, runtime, io, lookups),
        timers=lambda stage: [renew_claims(stage, io.owners, io.address)],
        endpoints=_endpoints,
    )


def _endpoints(stage: CursorsStage) -> dict[str, Handler]:
    async def status(request: Request) -> Response:
        figures = (
            "facts",
            "changed",
            "told",
            "notifications",
            "unreadable",
            "lost_records",
            "events",
        )
        return json_response(stage.status(*figures, rate="facts"))

    async def marks(question: MarksQuestion) -> MarksAnswer:
        asked = question.conversations
        return {n: partition.marks(asked[n]) for n, partition in stage.here(asked).items()}

    async def devices(question: DevicesQuestion) -> DevicesAnswer:
        here = stage.here(question.partitions)
        return {n: partition.devices(question.user) for n, partition in here.items()}

    return {
        "/cursors/": status,
        "/cursors/marks/": answering(MarksQuestion, each(marks)),
        "/cursors/devices/": answering(DevicesQuestion, each(devices)),
    }
