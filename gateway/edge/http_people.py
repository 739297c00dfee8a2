"""`/v1/people`: what a user has decided about others, over HTTP (docs/PROTOCOL.md)."""

from aiohttp import web

from gateway.edge.http_api import (
    Allowance,
    Verify,
    answering,
    json_answer,
    json_body,
    named_user,
    user_of,
)
from gateway.edge.http_types import Deciding, PeopleList, Showing
from gateway.edge.problems import Problem
from gateway.people.lists import ListFull, PeopleLists, change_of, people_of, state_after
from schemas.codec import person_of
from schemas.codes import Code
from schemas.events import PersonChange
from schemas.frames import SetPrivacy

_COST = 1.0
"""As a question on a socket, in pages of history."""


def people_routes(lists: PeopleLists, verify: Verify, allow: Allowance) -> list[web.RouteDef]:
    """The same as `get_people` and the decisions about others on a socket."""

    async def listed(request: web.Request) -> web.Response:
        user = user_of(request, verify)
        with allow(user, _COST):
            told = people_of(0, await lists.of(user))
        return json_answer(PeopleList(told.people, told.privacy))

    async def decide(request: web.Request) -> web.Response:
        user = user_of(request, verify)
        other = named_user(request.match_info["user"])
        if other == user:
            raise Problem(400, Code.BAD_FIELD, "nobody decides about themselves")
        with allow(user, _COST):
            says = await json_body(request, Deciding)
            declined = says.declined or None
            return await answer(
                PersonChange(user, other, says.blocked, says.contact, declined=declined)
            )

    async def show(request: web.Request) -> web.Response:
        user = user_of(request, verify)
        with allow(user, _COST):
            says = await json_body(request, Showing)
            return await answer(change_of(user, SetPrivacy(0, says.presence, says.reads)))

    async def answer(change: PersonChange) -> web.Response:
        decided = await lists.change(change)
        try:
            return json_answer(person_of(change.other, state_after(decided, change)))
        except ListFull:
            raise Problem(409, Code.LIST_FULL) from None

    return [
        web.get("/v1/people", answering(listed)),
        web.put("/v1/people/{user:[^/]+}", answering(decide)),
        web.put("/v1/privacy", answering(show)),
    ]
