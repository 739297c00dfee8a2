"""The memberships: whom to ask about a user, from `memberships` (R11)."""

import asyncio

from agents.claims import renew_claims
from agents.memberships.partition import MembershipsIO, MembershipsPartition
from schemas.topics import MEMBERSHIPS
from schemas.worker_api import MembershipsAnswer, MembershipsQuestion
from streams.stage import Stage, StageSpec
from streams.worker_api import Handler, Request, Response, answering, json_response

GROUP = "memberships"

MembershipsStage = Stage[MembershipsPartition]


def memberships_stage(io: MembershipsIO) -> StageSpec[MembershipsPartition]:
    """The stage; its topic has as many partitions as the log."""
    return StageSpec(
        GROUP,
        GROUP,
        MEMBERSHIPS,
        io.partitions,
        lambda number, runtime: MembershipsPartition(number, runtime, io),
        timers=lambda stage: [renew_claims(stage, io.owners, io.address)],
        endpoints=_endpoints,
    )


def _endpoints(stage: MembershipsStage) -> dict[str, Handler]:
    async def status(request: Request) -> Response:
        figures = "facts", "unreadable", "events", "questions", "users_asked"
        return json_response(stage.status(*figures, rate="facts"))

    async def partitions(question: MembershipsQuestion) -> MembershipsAnswer:
        here = stage.here(question.users)
        stage.figures["questions"] += 1
        stage.figures["users_asked"] += sum(map(len, question.users.values()))
        found = await asyncio.gather(
            *(one.partitions_of(question.users[number]) for number, one in here.items())
        )
        answers = zip(here, found, strict=True)
        return {number: answer for number, answer in answers if answer is not None}

    return {
        "/memberships/": status,
        "/memberships/partitions/": answering(MembershipsQuestion, partitions),
    }
