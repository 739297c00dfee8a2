"""The requests of gateways and people to a worker, and its responses, as plain bytes, without a web
server. streams/faust_adapter serves it over HTTP; the simulation calls it."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import msgspec

from schemas.codec import UNDECODABLE

log = logging.getLogger(__name__)

encode_json = msgspec.json.Encoder().encode

JSON, LINES = "application/json", "application/x-ndjson"

Question = TypeVar("Question", bound=msgspec.Struct)


class Request(NamedTuple):
    """`values` are the parts of the path that its pattern names: /sequencer/page/{partition}/ asked
    as /sequencer/page/3/ has {"partition": "3"}."""

    path: str
    query: Mapping[str, str] = {}
    body: bytes = b""
    values: Mapping[str, str] = {}


class Response(NamedTuple):
    status: int
    body: bytes
    content_type: str = JSON


Handler = Callable[[Request], Awaitable[Response]]


def json_response(value: Any, status: int = 200) -> Response:
    return Response(status, encode_json(value))


Answer = Callable[[Sequence[Question]], Awaitable[Sequence[Any]]]
"""Answers questions, in order."""


def answering(kind: type[Question], answer: "Answer[Question]") -> Handler:
    """A handler for questions of this kind (schemas/worker_api.py), which come as a JSON array and
    are answered with one; 400 for anything else."""
    decode = msgspec.json.Decoder(list[kind]).decode  # type: ignore[valid-type]

    async def handle(request: Request) -> Response:
        try:
            questions = decode(request.body)
        except UNDECODABLE as error:
            return json_response({"error": str(error)}, 400)
        return json_response(await answer(questions))

    return handle


def each(answer: Callable[[Question], Awaitable[Any]]) -> "Answer[Question]":
    """Answers every question by itself."""

    async def answer_each(questions: Sequence[Question]) -> Sequence[Any]:
        return await asyncio.gather(*map(answer, questions))

    return answer_each


class WorkerApi:
    """Every endpoint of a worker process, whatever stages it has. Patterns and paths begin and end
    with a slash."""

    def __init__(self) -> None:
        self.handlers: dict[str, Handler] = {}
        """By pattern."""

    def add(self, handlers: Mapping[str, Handler]) -> None:
        self.handlers |= handlers

    async def handle(self, request: Request) -> Response:
        """The response of the endpoint that the path names; 404 if none does, 500 for a fault."""
        for pattern, handler in self.handlers.items():
            values = _match(pattern, request.path)
            if values is not None:
                return await respond(handler, request._replace(values=values))
        return json_response({"error": f"there is no endpoint {request.path}"}, 404)


async def respond(handler: Handler, request: Request) -> Response:
    """The handler's response; 500 if it raises."""
    try:
        return await handler(request)
    except Exception as error:
        log.exception("%s cannot be answered", request.path)
        return json_response({"error": repr(error)}, 500)


def _match(pattern: str, path: str) -> Mapping[str, str] | None:
    if pattern == path:
        return {}
    wanted, given = pattern.split("/"), path.split("/")
    if "{" not in pattern or len(wanted) != len(given):
        return None
    values: dict[str, str] = {}
    for part, value in zip(wanted, given, strict=True):
        if part.startswith("{"):
            values[part[1:-1]] = value
        elif part != value:
            return None
    return values
