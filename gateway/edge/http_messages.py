"""`POST /v1/messages` and `/v1/messages/batch`: sends over HTTP (docs/PROTOCOL.md)."""

from collections.abc import Sequence

from aiohttp import web

from gateway.edge.http_api import Allowance, Verify, bearer, json_answer, json_body
from gateway.edge.http_senders import Answer, NoSession, NotSent
from gateway.edge.http_types import Answers, NewMessage, NewMessages
from gateway.edge.problems import Problem
from gateway.edge.tokens import BadToken, Login
from gateway.node import Node
from schemas.codes import Close, Code
from schemas.frames import OutOfStep, Refused, Send, Sent

_STATUS_OF = {Code.QUOTA: 429, Code.BUSY: 429, Code.RATE_LIMITED: 429}
"""Of a send that was not taken and may be later; 503 for the other codes."""
_PROBLEM_OF = {
    Close.REVOKED: (401, Code.TOKEN_REVOKED),
    Close.LOGGED_OUT: (401, Code.TOKEN_REVOKED),
    Close.TOO_MANY_DEVICES: (429, Code.BUSY),
}
"""Why a user cannot send now; 503 for the other codes."""


def message_routes(node: Node, verify: Verify, allow: Allowance) -> list[web.RouteDef]:
    """The user's own sends."""

    def login_of(request: web.Request) -> Login:
        try:
            return verify(bearer(request))
        except BadToken as error:
            raise Problem(401, error.why.code, str(error)) from None

    async def one(request: web.Request) -> web.Response:
        login = login_of(request)
        with allow(login.user, 0):
            message = await json_body(request, NewMessage)
            (answer,) = await send_all(node, login, [message])
        if isinstance(answer, Sent):
            return json_answer(answer)
        raise _problem(answer)

    async def batch(request: web.Request) -> web.Response:
        login = login_of(request)
        with allow(login.user, 0):
            messages = (await json_body(request, NewMessages)).messages
            return json_answer(Answers(await send_all(node, login, messages)))

    return [web.post("/v1/messages", one), web.post("/v1/messages/batch", batch)]


async def send_all(node: Node, login: Login, messages: Sequence[NewMessage]) -> list[Answer]:
    """Send as the user of `login`, and return the answers in this order. Raises Problem."""
    sends = [_send(login, message) for message in messages]
    if node.refusal() is not None:
        raise Problem(503, Code.TRY_LATER, "this node is not ready")
    try:
        return await node.senders.send(login, sends)
    except NoSession as error:
        status, code = _PROBLEM_OF.get(error.close, (503, Code.TRY_LATER))
        raise Problem(status, code, error.close.text) from None


def _send(login: Login, message: NewMessage) -> Send:
    outbox, ordinal = message.outbox, message.ordinal
    if message.to == login.user:
        raise Problem(400, Code.BAD_FIELD, "to: nobody writes to themselves")
    if (outbox is None) is not (ordinal is None):
        raise Problem(400, Code.BAD_FIELD, "outbox, ordinal: both or none")
    if outbox is None or ordinal is None:
        outbox, ordinal = message.key, 1
    return Send(message.to, outbox, ordinal, message.key, message.body)


def _problem(answer: NotSent) -> Problem:
    if isinstance(answer, OutOfStep):
        text = f"{Code.OUT_OF_STEP.text}: {answer.reason}, the next one is {answer.next}"
        return Problem(409, Code.OUT_OF_STEP, text)
    code = Code.of(answer.code) or Code.FAILED
    if isinstance(answer, Refused):
        return Problem(422, code)
    status = _STATUS_OF.get(code, 503 if code.retry else 400)
    return Problem(status, code, retry_after=answer.retry_after or 1000)
