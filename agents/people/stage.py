"""The people: `people.submitted` → `people` and `deliveries`. The decisions are
agents/rules/people.py."""

from agents.claims import renew_claims
from agents.people.partition import PeoplePartition
from agents.route_lookups import RouteLookups
from connectors.redis.routes import Routes
from connectors.redis.watchers import Watchers
from schemas.topics import PEOPLE_SUBMITTED
from schemas.worker_api import PeopleAnswer, PeopleQuestion, StancesAnswer, StancesQuestion
from streams.stage import Stage, StageSpec
from streams.table_partition import TableIO
from streams.tables.people import PeopleTable
from streams.worker_api import Handler, Request, Response, answering, each, json_response

GROUP = "people"

PeopleStage = Stage[PeoplePartition]


def people_stage(
    io: TableIO[PeopleTable], routes: Routes, watchers: Watchers, partitions: int
) -> StageSpec[PeoplePartition]:
    """The stage, for topics of so many partitions. Make it inside a running loop."""
    lookups = RouteLookups(routes)
    return StageSpec(
        GROUP,
        io.group,
        PEOPLE_SUBMITTED,
        partitions,
        lambda number, runtime: PeoplePartition(number, runtime, io, lookups, watchers),
        timers=lambda stage: [renew_claims(stage, io.owners, io.address)],
        endpoints=_endpoints,
    )


def _endpoints(stage: PeopleStage) -> dict[str, Handler]:
    async def status(request: Request) -> Response:
        figures = "facts", "changed", "told", "unreadable", "lost_records", "events"
        return json_response(stage.status(*figures, rate="facts"))

    async def stances(question: StancesQuestion) -> StancesAnswer:
        asked = question.pairs
        return {
            number: partition.stances(asked[number])
            for number, partition in stage.here(asked).items()
            if not question.whole or (await partition.caught_up() and partition.readable)
        }

    async def people(question: PeopleQuestion) -> PeopleAnswer:
        asked = question.users
        return {
            number: [partition.people(user) for user in asked[number]]
            for number, partition in stage.here(asked).items()
            if await partition.caught_up() and partition.readable
        }

    return {
        "/people/": status,
        "/people/stances/": answering(StancesQuestion, each(stances)),
        "/people/lists/": answering(PeopleQuestion, each(people)),
    }
