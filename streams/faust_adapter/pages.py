"""A worker's endpoints (streams/worker_api.py) and its overview page in the Faust web monitor.

Faust's own statistics, which it would have at `/`, are at `/monitor/`.
"""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import faust
from aiohttp import web
from faust.web import View

from schemas.page_tokens import PageTokens
from streams.worker_api import Handler, Request, WorkerApi, respond

_FILES = Path(__file__).with_name("overview")
_SECURITY = {
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


def serve(app: faust.App, api: WorkerApi, tokens: PageTokens) -> None:
    """Serve every endpoint on the app's web server. Faust's own pages ask for a token, too."""
    served: web.Application = app.web.web_app
    served.middlewares.append(_guard(tokens))
    served.router.add_get("/", _file)
    served.router.add_get("/overview/{name}", _file)
    app.web.blueprints.add("/monitor", "faust.web.apps.stats:blueprint")
    for pattern, handler in api.handlers.items():
        app.page(pattern, name=pattern)(_view(handler))


async def _file(request: web.Request) -> web.StreamResponse:
    """The overview page, or a file of it."""
    name = request.match_info.get("name", "index.html")
    if name not in {file.name for file in _FILES.iterdir()}:
        raise web.HTTPNotFound
    return web.FileResponse(_FILES / name, headers=_SECURITY)


def _guard(tokens: PageTokens) -> Any:
    @web.middleware
    async def guarded(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        resource = request.match_info.route.resource
        pattern = resource.canonical if resource is not None else ""
        if not tokens.allow(pattern, request.headers.get("Authorization", "")):
            return web.json_response({"error": "this page needs a token"}, status=401)
        return await handler(request)

    return guarded


def _view(handler: Handler) -> type[View]:
    class Endpoint(View):
        async def get(self, request: Any, **values: str) -> Any:
            return await self._respond(request, values)

        async def post(self, request: Any, **values: str) -> Any:
            return await self._respond(request, values)

        async def _respond(self, request: Any, values: dict[str, str]) -> Any:
            body = await request.read()
            asked = Request(request.path, dict(request.query), body, values)
            found = await respond(handler, asked)
            return self.web.bytes(found.body, content_type=found.content_type, status=found.status)

    return Endpoint
