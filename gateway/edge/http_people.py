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
from gateway.edge.http_types import Blocking, PeopleList
from gateway.edge.problems import Problem
from gateway.people.lists import ListFull, PeopleLists, change_of, people_of, state_after
from schemas.codec import person_of
from schemas.codes import Code
from schemas.frames import Block, Unblock

_COST = 1.0
"""As a question on a socket, in pages of history."""


def people_routes(lists: PeopleLists, verify: Verify, allow: Allowance) -> list[web.RouteDef]:
    """The same as `get_people`, `block` and `unblock` on a socket."""

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
            blocked = (await json_body(request, Blocking)).blocked
            change = change_of(user, Block(0, other) if blocked else Unblock(0, other))
            decided = await lists.change(change)
        try:
            return json_answer(person_of(other, state_after(decided, change)))
        except ListFull:
            raise Problem(409, Code.LIST_FULL) from None

    return [
        web.get("/v1/people", answering(listed)),
        web.put("/v1/people/{user:[^/]+}", answering(decide)),
    ]
