"""What went wrong with an HTTP request, as RFC 9457 says it: application/problem+json."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

import msgspec
from aiohttp import web

from schemas.codes import Code

log = logging.getLogger(__name__)

CONTENT_TYPE = "application/problem+json"
ANSWER_SECONDS = 30.0
"""From a request's headers to its answer; questions to workers and the archive give up sooner."""

_CODES = {
    401: Code.UNAUTHORIZED,
    403: Code.NOT_HERE,
    404: Code.NOT_FOUND,
    405: Code.METHOD_NOT_ALLOWED,
    413: Code.REQUEST_TOO_LARGE,
    415: Code.NOT_JSON,
}
"""Of what the HTTP server itself raises."""


class ProblemDetails(msgspec.Struct):
    """`type` and `title` are the same for every problem with this `code`; `detail` tells a person
    more of this one. `retry`: the same request may succeed later."""

    type: str
    title: str
    status: int
    detail: str
    code: int
    retry: bool
    text: str
    """The detail, as clients of before RFC 9457 read it."""


class Problem(Exception):
    """The request cannot be answered. `status` is HTTP's; `detail` is for people. `retry_after`
    (ms) counts if the code says that the same request may succeed later."""

    def __init__(self, status: int, code: Code, detail: str = "", retry_after: int = 1000) -> None:
        self.status = status
        self.code = code
        self.detail = detail or code.text
        self.retry_after = retry_after


def problem_body(status: int, code: Code, detail: str) -> bytes:
    """The body of an answer of type CONTENT_TYPE."""
    kind = f"urn:messenger:code:{code.number}"
    return msgspec.json.encode(
        ProblemDetails(kind, code.text, status, detail, code.number, code.retry, detail)
    )


@web.middleware
async def answer_problems(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Answers for whatever a handler, or the HTTP server, raises."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):  # a body may come byte by byte
            return await handler(request)
    except TimeoutError:
        return _answer(Problem(408, Code.TRY_LATER, "the request did not come whole in time"))
    except Problem as problem:
        return _answer(problem)
    except web.HTTPException as error:
        code = _CODES.get(error.status, Code.BAD_FIELD)
        allowed = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
        return _answer(Problem(error.status, code), allowed)
    except Exception:
        log.exception("a request to %s could not be answered", request.path[:200])
        return _answer(Problem(500, Code.FAILED))


def _answer(problem: Problem, headers: Mapping[str, str] | None = None) -> web.Response:
    again = {"Retry-After": str(-(-problem.retry_after // 1000))} if problem.code.retry else {}
    return web.Response(
        body=problem_body(problem.status, problem.code, problem.detail),
        status=problem.status,
        content_type=CONTENT_TYPE,
        headers={**again, **(headers or {})},
    )
