"""The node's HTTP side: the chat page, the socket, login in local mode, health and metrics."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
from aiohttp import web
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from connectors.kafka.ports import KafkaSendError, QueueFull
from gateway.edge.http_api import Allowance, bearer, device_routes, history_routes
from gateway.edge.local_guard import foreign
from gateway.edge.socket import Sockets
from gateway.edge.tokens import BadToken, issue, verify_operator
from gateway.edge.websocket import PATH
from gateway.metrics import NodeMetrics
from gateway.node import Node
from schemas.codec import UNDECODABLE
from schemas.ids import InvalidId, device_id, user_id
from schemas.page_tokens import PageTokens

_WEB = Path(__file__).resolve().parents[2] / "clients" / "web"
_SECURITY = {
    "Content-Security-Policy": (
        "default-src 'self'; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
_ANSWER_SECONDS = 30.0
"""From a request's headers to its answer; questions to workers and the archive give up sooner."""
_ASSETS = (".js", ".css", ".svg")


class _LoginByName(msgspec.Struct):
    user: str


class _Revoke(msgspec.Struct, forbid_unknown_fields=True):
    """`device` empty: all of the user's. `before` (ms) None: now."""

    user: str
    device: str = ""
    before: int | None = None


def make_web_app(
    node: Node, metrics: NodeMetrics, sockets: Sockets, stop: Callable[[], None]
) -> web.Application:
    """The pages of a node; `stop` begins its drain."""
    settings = node.settings
    allow = Allowance(node.parts.quotas, settings.user_requests)
    tokens = PageTokens(settings.status_token)
    app = web.Application(middlewares=[_secure, *([_local_only] if settings.local else [])])
    logins = node.parts.logins

    async def health(_: web.Request) -> web.Response:
        problems = node.problems()
        answer = {"healthy": not problems, "node": node.id, "problems": problems}
        return web.json_response(answer, status=503 if problems else 200)

    async def ready(_: web.Request) -> web.Response:
        answer = {"ready": node.ready, "problems": node.problems()}
        return web.json_response(answer, status=200 if node.ready else 503)

    async def show_metrics(request: web.Request) -> web.Response:
        if not tokens.allow("/metrics", request.headers.get("Authorization", "")):
            return web.json_response({"error": "this page needs the status token"}, status=401)
        return web.Response(body=metrics.text(), headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})

    def require_operator(request: web.Request) -> None:
        try:
            verify_operator(bearer(request), settings.operator_secret, node.now() / 1000)
        except BadToken as error:
            logins.refused_as(error)
            raise web.HTTPUnauthorized(
                text=json.dumps({"error": f"an operator's token is needed: {error}"}),
                content_type="application/json",
            ) from None

    async def revoke(request: web.Request) -> web.Response:
        require_operator(request)
        if request.content_type != "application/json":
            return web.json_response({"error": "the body must be application/json"}, status=415)
        try:
            asked = msgspec.json.decode(await request.read(), type=_Revoke)
            user = user_id(asked.user)
            device = device_id(asked.device) if asked.device else ""
        except (InvalidId, *UNDECODABLE) as error:
            return web.json_response({"error": str(error)}, status=400)
        before = node.now() if asked.before is None else asked.before
        if not 0 <= before <= node.now():
            return web.json_response({"error": "before: a time (ms) until now"}, status=400)
        try:
            await node.parts.revocations.revoke(user, device, before)
        except (KafkaSendError, QueueFull) as error:
            return web.json_response(
                {"error": f"Kafka has not taken it: {error}"},
                status=503,
                headers={"Retry-After": "1"},
            )
        return web.json_response({"user": user, "device": device, "before": before}, status=202)

    async def begin_drain(request: web.Request) -> web.Response:
        require_operator(request)
        stop()
        return web.json_response({"draining": True}, status=202)

    async def login(request: web.Request) -> web.Response:
        if not settings.local or settings.token_secret is None:
            return web.json_response(
                {"error": "tokens are not made here; MESSENGER_LOCAL=1 would"}, status=403
            )
        if request.content_type != "application/json":  # what a foreign page may send unasked
            return web.json_response({"error": "the body must be application/json"}, status=415)
        try:
            user = user_id(msgspec.json.decode(await request.read(), type=_LoginByName).user)
        except (InvalidId, *UNDECODABLE) as error:
            return web.json_response({"error": str(error)}, status=400)
        token = issue(user, settings.token_secret, node.now() / 1000)
        return web.json_response({"user": user, "token": token})

    async def find_node(request: web.Request) -> web.Response:
        try:
            url = await node.parts.urls.right_node(user_id(request.query.get("user", "")))
        except InvalidId as error:
            return web.json_response({"error": str(error)}, status=400)
        if url is None:
            return web.json_response(
                {"error": "no node is known now"}, status=503, headers={"Retry-After": "1"}
            )
        return web.json_response({"url": url})

    async def index(_: web.Request) -> web.FileResponse:
        return web.FileResponse(_WEB / "index.html")

    app.add_routes(
        [
            web.get(PATH, sockets.upgrade),
            web.post("/v1/login", login),
            web.post("/v1/drain", begin_drain),
            web.post("/v1/revocations", revoke),
            *history_routes(node.parts.queries.history, logins.login, allow),
            *device_routes(node.parts.queries.devices, logins.login, node.now, allow),
            web.get("/v1/node", find_node),
            web.get("/health", health),
            web.get("/ready", ready),
            web.get("/metrics", show_metrics),
            web.get("/", index),
            web.static("/", _WEB),
        ]
    )
    return app


@web.middleware
async def _local_only(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    wrong = foreign(request.headers.get("Host", ""), request.headers.get("Origin"))
    if wrong is not None:
        raise web.HTTPForbidden(text=wrong)
    return await handler(request)


@web.middleware
async def _secure(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        async with asyncio.timeout(_ANSWER_SECONDS):  # a body may come byte by byte
            response = await handler(request)
    except TimeoutError:
        raise web.HTTPRequestTimeout(headers=_SECURITY) from None
    except web.HTTPException as error:
        error.headers.update(_SECURITY)
        raise
    if not response.prepared:
        response.headers.update(_SECURITY)
        # Browsers must not keep what is personal. Nor the page: a browser that may go back to a
        # page freezes it when the person leaves, with an open socket and a user who seems to be
        # online.
        response.headers["Cache-Control"] = (
            "no-cache" if request.path.endswith(_ASSETS) else "no-store"
        )
    return response
