"""The node's HTTP side: the chat page, the socket, login in local mode, health and metrics."""

from collections.abc import Callable

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from gateway.edge import openapi, page_files
from gateway.edge.addresses import FORWARDED, Networks, client_address, trusted_networks
from gateway.edge.http_api import (
    Allowance,
    device_routes,
    history_routes,
    json_answer,
    json_body,
    named_user,
)
from gateway.edge.http_messages import message_routes
from gateway.edge.http_operator import operator_routes
from gateway.edge.http_people import people_routes
from gateway.edge.http_types import Health, LoggedIn, LoginByName, NodeFound, Readiness
from gateway.edge.local_guard import BrowserGuard, browser_guard
from gateway.edge.pacer import Pace, Pacer
from gateway.edge.problems import Problem, answer_problems
from gateway.edge.socket import Sockets
from gateway.edge.tokens import issue
from gateway.edge.websocket import PATH
from gateway.metrics import NodeMetrics
from gateway.node import Node
from schemas.codes import Code
from schemas.page_tokens import PageTokens

_SECURITY = {
    "Content-Security-Policy": (
        "default-src 'self'; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
_FOR_ANOTHER_PAGE = {
    "Access-Control-Allow-Methods": "GET, POST, PUT, PATCH, DELETE",
    "Access-Control-Allow-Headers": "Authorization, Content-Type",
    "Access-Control-Max-Age": "600",
    "Vary": "Origin",
}
_BEGUN = Pace(2, 0.5, 2)
"""HTTP requests that begin within 4 ms. Each costs the loop some 200 us before its work begins, so
all together have a tenth of its time at most."""
MAX_REQUESTS = 5_000
"""That wait for their turn; more get 503."""
_ASSETS = (".js", ".css", ".svg", ".webmanifest")


def make_web_app(
    node: Node, metrics: NodeMetrics, sockets: Sockets, stop: Callable[[], None]
) -> web.Application:
    """The pages of a node; `stop` begins its drain."""
    settings = node.settings
    allow = Allowance(node.parts.quotas, settings.user_requests)
    tokens = PageTokens(settings.status_token)
    guard = browser_guard(settings.local, settings.origins)
    app = web.Application(
        middlewares=[
            _secure(guard),
            answer_problems,
            _in_turn(trusted_networks(settings.trusted_proxies)),
            _refuse_pages(guard),
        ]
    )
    logins = node.parts.logins
    described = openapi.document()
    assets = frozenset(path.name for path in page_files.FOLDER.iterdir())
    service_worker = page_files.service_worker()

    async def health(_: web.Request) -> web.Response:
        problems = node.problems()
        return json_answer(Health(not problems, node.id, problems), 503 if problems else 200)

    async def ready(_: web.Request) -> web.Response:
        return json_answer(Readiness(node.ready, node.problems()), 200 if node.ready else 503)

    async def show_metrics(request: web.Request) -> web.Response:
        if not tokens.allow("/metrics", request.headers.get("Authorization", "")):
            raise Problem(401, Code.UNAUTHORIZED, "this page needs the status token")
        return web.Response(body=metrics.text(), headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})

    async def login(request: web.Request) -> web.Response:
        if not settings.local or settings.token_secret is None:
            text = "tokens are not made here; MESSENGER_LOCAL=1 would"
            raise Problem(403, Code.NOT_HERE, text)
        user = named_user((await json_body(request, LoginByName)).user)
        return json_answer(LoggedIn(user, issue(user, settings.token_secret, node.now() / 1000)))

    async def find_node(request: web.Request) -> web.Response:
        url = await node.parts.urls.right_node(named_user(request.query.get("user", "")))
        if url is None:
            raise Problem(503, Code.TRY_LATER, "no node is known now")
        return json_answer(NodeFound(url))

    async def show_openapi(_: web.Request) -> web.Response:
        return web.Response(body=described, content_type="application/json")

    async def asset(request: web.Request) -> web.FileResponse:
        name = request.match_info["name"]
        if name not in assets:
            raise Problem(404, Code.NOT_FOUND)
        return web.FileResponse(page_files.FOLDER / name)

    async def index(_: web.Request) -> web.FileResponse:
        return web.FileResponse(page_files.FOLDER / "index.html")

    async def show_service_worker(_: web.Request) -> web.Response:
        return web.Response(text=service_worker, content_type="text/javascript")

    app.add_routes(
        [
            web.get(PATH, sockets.upgrade),
            web.post("/v1/login", login),
            *operator_routes(node, stop),
            *message_routes(node, logins.login, allow),
            *people_routes(node.parts.people.lists, logins.login, allow),
            *history_routes(node.parts.queries.history, logins.login, allow),
            *device_routes(node.parts.queries.devices, logins.login, node.now, allow),
            web.get("/v1/node", find_node),
            web.get(openapi.PATH, show_openapi),
            web.get("/health", health),
            web.get("/ready", ready),
            web.get("/metrics", show_metrics),
            web.get("/", index),
            web.get("/sw.js", show_service_worker),
            web.get("/{name}", asset),
        ]
    )
    return app


def _in_turn(trusted: Networks) -> Middleware:
    """A few requests begin at a time, and addresses take turns: not every request has a user, and
    with that a quota."""
    turns = Pacer(_BEGUN)

    @web.middleware
    async def in_turn(request: web.Request, handler: Handler) -> web.StreamResponse:
        if len(turns) >= MAX_REQUESTS:
            raise Problem(503, Code.TRY_LATER, "too many requests wait")
        forwarded = request.headers.get(FORWARDED, "")
        await turns.wait(client_address(trusted, request.remote or "", forwarded))
        return await handler(request)

    return in_turn


def _refuse_pages(guard: BrowserGuard) -> Middleware:
    @web.middleware
    async def refuse_pages(request: web.Request, handler: Handler) -> web.StreamResponse:
        origin = request.headers.get("Origin")
        wrong = guard.refusal(request.headers.get("Host", ""), origin)
        if wrong is not None:
            raise Problem(403, Code.NOT_HERE, wrong)
        if request.method == "OPTIONS" and guard.names(origin):
            return web.Response(status=204)  # a browser asks before a page may
        return await handler(request)

    return refuse_pages


def _secure(guard: BrowserGuard) -> Middleware:
    """Says to browsers what they may do with an answer."""

    @web.middleware
    async def secure(request: web.Request, handler: Handler) -> web.StreamResponse:
        response = await handler(request)
        if response.prepared:
            return response
        headers = response.headers
        headers.update(_SECURITY)
        # Browsers must not keep what is personal. Nor the page: a browser that may go back to a
        # page freezes it when the person leaves, with an open socket and a user who seems to be
        # online.
        headers["Cache-Control"] = "no-cache" if request.path.endswith(_ASSETS) else "no-store"
        origin = request.headers.get("Origin")
        if origin is not None and guard.names(origin):
            headers.update(_FOR_ANOTHER_PAGE)
            headers["Access-Control-Allow-Origin"] = origin
        return response

    return secure
