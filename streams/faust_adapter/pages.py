"""A worker's endpoints (streams/worker_api.py) in the Faust web monitor."""

from typing import Any

import faust
from faust.web import View

from streams.worker_api import Handler, Request, WorkerApi, respond


def serve(app: faust.App, api: WorkerApi) -> None:
    """Serve every endpoint on the app's web server."""
    for pattern, handler in api.handlers.items():
        app.page(pattern, name=pattern)(_view(handler))


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
