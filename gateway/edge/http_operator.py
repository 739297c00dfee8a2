"""The requests of operators, under `/v1/operator` (docs/OPERATIONS.md, "Operators' requests")."""

from collections.abc import Callable

from aiohttp import web

from gateway.edge.http_api import (
    answering,
    bearer,
    json_answer,
    json_body,
    named_device,
    named_user,
)
from gateway.edge.http_messages import send_all
from gateway.edge.http_types import (
    Answers,
    Disconnect,
    Draining,
    Revoke,
    Revoked,
    ServiceMessages,
)
from gateway.edge.problems import Problem
from gateway.edge.tokens import BadToken, Login, verify_operator
from gateway.node import Node
from schemas.codes import Code
from schemas.ids import UserId

_SERVICE_SECONDS = 3600.0
"""A service's session in memory ends when its login does; the next request begins another."""


def operator_routes(node: Node, stop: Callable[[], None]) -> list[web.RouteDef]:
    """`stop` begins the node's drain."""
    parts = node.parts

    def require_operator(request: web.Request) -> None:
        try:
            verify_operator(bearer(request), node.settings.operator_secret, node.now() / 1000)
        except BadToken as error:
            parts.logins.refused_as(error)
            text = f"an operator's token is needed: {error}"
            raise Problem(401, error.why.code, text) from None

    async def revoke(request: web.Request) -> web.Response:
        require_operator(request)
        asked = await json_body(request, Revoke)
        user, device = named_user(asked.user), _device(asked.device)
        before = node.now() if asked.before is None else asked.before
        if not 0 <= before <= node.now():
            raise Problem(400, Code.BAD_FIELD, "before: a time (ms) until now")
        await parts.revocations.revoke(user, device, before)
        return json_answer(Revoked(user, device, before), 202)

    async def disconnect(request: web.Request) -> web.Response:
        require_operator(request)
        asked = await json_body(request, Disconnect)
        user, device = named_user(asked.user), _device(asked.device)
        parts.queries.devices.disconnect(user, device)
        return json_answer(Disconnect(user, device), 202)

    async def send(request: web.Request) -> web.Response:
        require_operator(request)
        asked = await json_body(request, ServiceMessages)
        login = _login_of_service(named_user(asked.sender), node.now() / 1000)
        return json_answer(Answers(await send_all(node, login, asked.messages)))

    async def status(request: web.Request) -> web.Response:
        require_operator(request)
        user = named_user(request.match_info["user"])
        return json_answer(await parts.queries.user_status.status(user))

    async def drain(request: web.Request) -> web.Response:
        require_operator(request)
        stop()
        return json_answer(Draining(True), 202)

    base = "/v1/operator"
    return [
        web.post(f"{base}/revocations", answering(revoke)),
        web.post(f"{base}/disconnections", answering(disconnect)),
        web.post(f"{base}/messages", answering(send)),
        web.get(f"{base}/users/{{user:[^/]+}}", answering(status)),
        web.post(f"{base}/drain", answering(drain)),
        # As they were called first.
        web.post("/v1/revocations", answering(revoke)),
        web.post("/v1/drain", answering(drain)),
    ]


def _device(name: str) -> str:
    return named_device(name) if name else ""


def _login_of_service(user: UserId, now: float) -> Login:
    """As if a token for it had been made now."""
    return Login(user, None, now + _SERVICE_SECONDS, now)
