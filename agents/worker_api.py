"""What the pages of all stages in the Faust web monitor have in common."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Protocol, TypeVar

import msgspec
from faust.web import View

from schemas.codec import UNDECODABLE
from streams.faust_adapter.app import PipelineApp

encode_json = msgspec.json.Encoder().encode

Question = TypeVar("Question", bound=msgspec.Struct)


class Reporting(Protocol):
    """A partition as a page shows it."""

    number: int

    @property
    def committable(self) -> int | None: ...
    def report(self) -> dict[str, Any]: ...


def joining(app: PipelineApp) -> list[str]:
    """What an operator must know of the group."""
    return ["joining the group"] if app.joining else []


def add_health(app: PipelineApp, problems: Callable[[], list[str]]) -> None:
    """`/health/`."""

    @app.page("/health/")
    async def health(web: Any, request: Any) -> Any:
        """200 when everything that this worker has runs, else 503; lists what does not."""
        found = problems()
        return web.json({"healthy": not found, "problems": found}, status=503 if found else 200)


def add_question(
    app: PipelineApp, path: str, kind: type[Question], answer: Callable[[Question], Awaitable[Any]]
) -> None:
    """A page for gateways: a question of this kind (schemas/worker_api.py) comes by POST and gets
    its answer; else 400."""
    decode = msgspec.json.Decoder(kind).decode

    class Answers(View):
        async def post(self, request: Any) -> Any:
            try:
                question = decode(await request.read())
            except UNDECODABLE as error:
                return self.json({"error": str(error)}, status=400)
            return self.bytes(encode_json(await answer(question)), content_type="application/json")

    app.page(path, name=path)(Answers)


def reports(app: PipelineApp, partitions: Iterable[Reporting]) -> list[dict[str, Any]]:
    """Each partition's state, position, and lag in records."""
    found = []
    for partition in partitions:
        end, done = app.input_end(partition.number), partition.committable
        lag = max(0, end - done) if end is not None and done is not None else None
        found.append({**partition.report(), "lag": lag})
    return found
