"""The node's HTTP side: the chat page, the socket, login in local mode, health and metrics."""

import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol

import msgspec
from aiohttp import web

from gateway.edge.http_api import device_routes, history_routes
from gateway.edge.tokens import BadToken, issue, verify_operator
from gateway.queries.devices import DeviceQueries
from gateway.queries.history import History
from schemas.codec import UNDECODABLE
from schemas.ids import InvalidId, user_id

_WEB = Path(__file__).resolve().parents[2] / "clients" / "web"
_SECURITY = {
    "Content-Security-Policy": "default-src 'self'; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
_ASSETS = (".js", ".css", ".svg")


class NodeView(Protocol):
    """What the HTTP side shows of a node."""

    id: str

    @property
    def ready(self) -> bool: ...

    def metrics(self) -> dict[str, float]: ...

    def stop(self) -> None: ...

    async def right_node(self, user: str) -> str | None: ...

    async def serve_socket(self, request: web.Request) -> web.StreamResponse: ...


class Login(msgspec.Struct):
    user: str


def make_web_app(
    node: NodeView, history: History, devices: DeviceQueries, token_secret: str, local: bool
) -> web.Application:
    """`local`: anybody may log in as anybody."""
    app = web.Application(middlewares=[_secure])

    async def health(_: web.Request) -> web.Response:
        return web.json_response({"healthy": True, "node": node.id})

    async def ready(_: web.Request) -> web.Response:
        return web.json_response({"ready": node.ready}, status=200 if node.ready else 503)

    async def metrics(_: web.Request) -> web.Response:
        lines = [f"messenger_gateway_{name} {value:g}" for name, value in node.metrics().items()]
        return web.Response(text="\n".join(lines) + "\n", content_type="text/plain")

    async def begin_drain(request: web.Request) -> web.Response:
        try:
            verify_operator(
                request.headers.get("Authorization", "").removeprefix("Bearer "),
                token_secret,
                time.time(),
            )
        except BadToken as error:
            return web.json_response(
                {"error": f"an operator's token is needed: {error}"}, status=401
            )
        node.stop()
        return web.json_response({"draining": True}, status=202)

    async def login(request: web.Request) -> web.Response:
        if not local:
            return web.json_response(
                {"error": "tokens are not made here; MESSENGER_LOCAL=1 would"}, status=403
            )
        try:
            user = user_id(msgspec.json.decode(await request.read(), type=Login).user)
        except (InvalidId, *UNDECODABLE) as error:
            return web.json_response({"error": str(error)}, status=400)
        return web.json_response({"user": user, "token": issue(user, token_secret, time.time())})

    async def find_node(request: web.Request) -> web.Response:
        try:
            url = await node.right_node(user_id(request.query.get("user", "")))
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
            web.get("/v1/socket", node.serve_socket),
            web.post("/v1/login", login),
            web.post("/v1/drain", begin_drain),
            *history_routes(history, token_secret),
            *device_routes(devices, token_secret),
            web.get("/v1/node", find_node),
            web.get("/health", health),
            web.get("/ready", ready),
            web.get("/metrics", metrics),
            web.get("/", index),
            web.static("/", _WEB),
        ]
    )
    return app


@web.middleware
async def _secure(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        response = await handler(request)
    except web.HTTPException as error:
        error.headers.update(_SECURITY)
        raise
    if not response.prepared:
        response.headers.update(_SECURITY)
        # What says something of a person is not kept. Nor is the page: a browser that could go back
        # to it would freeze its device when it is left, with an open socket and a user who seems to
        # be online.
        response.headers["Cache-Control"] = (
            "no-cache" if request.path.endswith(_ASSETS) else "no-store"
        )
    return response
