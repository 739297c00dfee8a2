"""A user's conversations, their messages, and the user's devices, over HTTP (docs/PROTOCOL.md)."""

import re
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import msgspec
from aiohttp import web

from connectors.kafka.ports import KafkaSendError, QueueFull
from connectors.redis.client import RedisUnavailable
from gateway.edge.http_types import Conversation, Conversations, Devices, Messages
from gateway.edge.openapi import MAX_CONVERSATIONS
from gateway.edge.problems import Problem
from gateway.edge.tokens import BadToken, Login
from gateway.queries.devices import DeviceQueries
from gateway.queries.history import History, HistoryUnavailable
from gateway.queries.worker_transport import WorkersUnavailable
from gateway.quotas import Kind, Quotas
from schemas.codec import UNDECODABLE, encode_frame
from schemas.codes import Code
from schemas.frames import MAX_PAGE_MESSAGES
from schemas.ids import DeviceId, InvalidId, UserId, device_id, is_member, user_id
from schemas.worker_api import RangeGone

_LIST_COST = 5.0
"""Of a list of devices, in pages of history: every partition is asked."""
_LOG_OUT_COST = 50.0
"""Of a log-out, which writes to every partition and every slot."""
_CURSOR = re.compile(r"(\d{1,15})-(.{3,129})")

_Body = TypeVar("_Body", bound=msgspec.Struct)
Handler = Callable[[web.Request], Awaitable[web.Response]]
Verify = Callable[[str], Login]
"""What a token says. Raises BadToken."""


class Allowance:
    """What a user may ask over HTTP: by the user's quota, and `at_once` requests under way."""

    def __init__(self, quotas: Quotas, at_once: int) -> None:
        self._quotas = quotas
        self._at_once = at_once
        self._under_way: Counter[str] = Counter()

    @contextmanager
    def __call__(self, user: UserId, cost: float) -> Iterator[None]:
        """Around the work for a request that costs so many pages of history."""
        if self._under_way[user] >= self._at_once:
            raise Problem(429, Code.BUSY)
        if wait := self._quotas.take(user, Kind.QUESTIONS, cost):
            raise Problem(429, Code.QUOTA, retry_after=wait)
        self._under_way[user] += 1
        try:
            yield
        finally:
            self._under_way[user] -= 1
            if not self._under_way[user]:
                del self._under_way[user]


def device_routes(
    devices: DeviceQueries, verify: Verify, now: Callable[[], int], allow: Allowance
) -> list[web.RouteDef]:
    """`/v1/devices` and `/v1/devices/{device}` (docs/PROTOCOL.md)."""

    async def listed(request: web.Request) -> web.Response:
        user = user_of(request, verify)
        with allow(user, _LIST_COST):
            return json_answer(Devices(*await devices.list(user)))

    async def log_out(request: web.Request) -> web.Response:
        user = user_of(request, verify)
        device = named_device(request.match_info["device"])
        with allow(user, _LOG_OUT_COST):
            await devices.log_out(user, device, now())
        return web.Response(status=202)

    # By itself a name in a path takes no brace: a wrong id would be a missing path.
    return [
        web.get("/v1/devices", answering(listed)),
        web.delete("/v1/devices/{device:[^/]+}", answering(log_out)),
    ]


def user_of(request: web.Request, verify: Verify) -> UserId:
    """Whose token came with a request."""
    try:
        return verify(bearer(request)).user
    except BadToken as error:
        raise Problem(401, error.why.code, str(error)) from None


def bearer(request: web.Request) -> str:
    """The token that came with a request, empty without one."""
    return request.headers.get("Authorization", "").removeprefix("Bearer ")


async def json_body(request: web.Request, kind: type[_Body]) -> _Body:
    """The body of a request. It takes no content type that a foreign page may send unasked."""
    if request.content_type != "application/json":
        raise Problem(415, Code.NOT_JSON)
    try:
        return msgspec.json.decode(await request.read(), type=kind)
    except UNDECODABLE as error:
        raise Problem(400, Code.BAD_FIELD, str(error)) from None


def named_user(text: str) -> UserId:
    """The user whom a request names."""
    try:
        return user_id(text)
    except InvalidId as error:
        raise Problem(400, Code.BAD_FIELD, str(error)) from None


def named_device(text: str) -> DeviceId:
    """The device that a request names."""
    try:
        return device_id(text)
    except InvalidId as error:
        raise Problem(400, Code.BAD_FIELD, str(error)) from None


def history_routes(history: History, verify: Verify, allow: Allowance) -> list[web.RouteDef]:
    """`/v1/conversations` and `/v1/conversations/{id}/messages` (docs/PROTOCOL.md)."""

    async def messages(request: web.Request) -> web.Response:
        conversation = request.match_info["conversation"]
        user = user_of(request, verify)
        if not is_member(conversation, user):
            raise Problem(403, Code.NOT_A_MEMBER)
        before, after = _number(request, "before", 1), _number(request, "after", 0)
        limit = _number(request, "limit", 1, MAX_PAGE_MESSAGES) or MAX_PAGE_MESSAGES
        with allow(user, 1.0):
            page = await history.of(user).page(conversation, before, after, limit)
        return json_answer(
            Messages(
                conversation, page.known, page.first, [msgspec.Raw(frame) for frame in page.frames]
            )
        )

    async def conversations(request: web.Request) -> web.Response:
        user = user_of(request, verify)
        limit = _number(request, "limit", 1, MAX_CONVERSATIONS) or MAX_CONVERSATIONS
        cursor = request.query.get("before")
        before = None
        if cursor is not None:
            named = _CURSOR.fullmatch(cursor)
            if named is None or not is_member(named[2], user):
                raise Problem(400, Code.BAD_FIELD, "before: the `next` of an earlier answer")
            before = int(named[1]), named[2]
        with allow(user, limit / 5):
            found = await history.conversations(user, limit, before)
        listed = [
            Conversation(one.conversation, one.seq, one.time, msgspec.Raw(last or b"null"))
            for one, last in found
        ]
        more = len(found) == limit
        return json_answer(
            Conversations(listed, f"{listed[-1].time}-{listed[-1].conversation}" if more else None)
        )

    return [
        web.get("/v1/conversations", answering(conversations)),
        web.get("/v1/conversations/{conversation:[^/]+}/messages", answering(messages)),
    ]


def _number(request: web.Request, name: str, least: int, most: int = 2**53 - 1) -> int | None:
    text = request.query.get(name)
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 16 or not least <= int(text) <= most:
        raise Problem(400, Code.BAD_FIELD, f"{name}: a number from {least} to {most}")
    return int(text)


def answering(handler: Handler) -> Handler:
    """The handler, with problems for what the parts of a node raise."""

    async def answer(request: web.Request) -> web.Response:
        try:
            return await handler(request)
        except (HistoryUnavailable, WorkersUnavailable, RedisUnavailable):
            raise Problem(503, Code.TRY_LATER) from None
        except (KafkaSendError, QueueFull):
            raise Problem(503, Code.TRY_LATER) from None
        except RangeGone:
            raise Problem(410, Code.RANGE_GONE) from None

    return answer


def json_answer(answer: msgspec.Struct, status: int = 200) -> web.Response:
    return web.Response(body=encode_frame(answer), status=status, content_type="application/json")
