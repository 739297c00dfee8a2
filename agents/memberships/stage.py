"""The memberships: whom to ask about a user, from `memberships` (R11)."""

import asyncio
from collections.abc import Sequence

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

    async def partitions(questions: Sequence[MembershipsQuestion]) -> Sequence[MembershipsAnswer]:
        """What is asked together costs one look at each partition's end."""
        asked: dict[int, list[str]] = {}
        for question in questions:
            for number, users in question.users.items():
                asked.setdefault(number, []).extend(users)
        here = stage.here(asked)
        stage.figures["questions"] += 1
        stage.figures["users_asked"] += sum(map(len, asked.values()))
        found = await asyncio.gather(*(one.partitions_of(asked[n]) for n, one in here.items()))
        answers = {n: iter(answer) for n, answer in zip(here, found, strict=True) if answer}
        return [
            {n: [next(answers[n]) for _ in users] for n, users in one.users.items() if n in answers}
            for one in questions
        ]

    return {
        "/memberships/": status,
        "/memberships/partitions/": answering(MembershipsQuestion, partitions),
    }
