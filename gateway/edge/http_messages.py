"""`POST /v1/messages` and `/v1/messages/batch`, and changes of a message: sends over HTTP
(docs/PROTOCOL.md)."""

import re
from collections.abc import Sequence

from aiohttp import web

from gateway.edge.http_api import Allowance, Verify, bearer, json_answer, json_body
from gateway.edge.http_senders import Answer, AnySend, NoSession, NotSent
from gateway.edge.http_types import Answers, Deletion, NewMessage, NewMessages, NewText
from gateway.edge.problems import Problem
from gateway.edge.tokens import BadToken, Login
from gateway.node import Node
from schemas.codes import Close, Code
from schemas.frames import Delete, Edit, OutOfStep, Refused, Send, Sent
from schemas.ids import is_member, peer_of
from schemas.worker_api import LAST_SEQ

_SEQ = re.compile("[1-9][0-9]{0,15}", re.ASCII)
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
            return _answer(*await send_all(node, login, [message]))

    async def batch(request: web.Request) -> web.Response:
        login = login_of(request)
        with allow(login.user, 0):
            messages = (await json_body(request, NewMessages)).messages
            return json_answer(Answers(await send_all(node, login, messages)))

    async def edit(request: web.Request) -> web.Response:
        login = login_of(request)
        to, seq = _place(request, login)
        with allow(login.user, 0):
            text = await json_body(request, NewText)
            outbox, ordinal = _lane(text)
            change = Edit(to, outbox, ordinal, text.key, seq, text.body)
            return _answer(*await _send_all(node, login, [change]))

    async def delete(request: web.Request) -> web.Response:
        login = login_of(request)
        to, seq = _place(request, login)
        with allow(login.user, 0):
            deletion = await json_body(request, Deletion)
            outbox, ordinal = _lane(deletion)
            change = Delete(to, outbox, ordinal, deletion.key, seq)
            return _answer(*await _send_all(node, login, [change]))

    message = "/v1/conversations/{conversation:[^/]+}/messages/{seq:[^/]+}"
    return [
        web.post("/v1/messages", one),
        web.post("/v1/messages/batch", batch),
        web.patch(message, edit),
        web.delete(message, delete),
    ]


async def send_all(node: Node, login: Login, messages: Sequence[NewMessage]) -> list[Answer]:
    """Send as the user of `login`, and return the answers in this order. Raises Problem."""
    return await _send_all(node, login, [_send(login, message) for message in messages])


async def _send_all(node: Node, login: Login, sends: Sequence[AnySend]) -> list[Answer]:
    if node.refusal() is not None:
        raise Problem(503, Code.TRY_LATER, "this node is not ready")
    try:
        return await node.senders.send(login, sends)
    except NoSession as error:
        status, code = _PROBLEM_OF.get(error.close, (503, Code.TRY_LATER))
        raise Problem(status, code, error.close.text) from None


def _send(login: Login, message: NewMessage) -> Send:
    if message.to == login.user:
        raise Problem(400, Code.BAD_FIELD, "to: nobody writes to themselves")
    outbox, ordinal = _lane(message)
    return Send(message.to, outbox, ordinal, message.key, message.body)


def _lane(message: NewMessage | NewText | Deletion) -> tuple[str, int]:
    """Its outbox and ordinal; without them the key is the outbox."""
    outbox, ordinal = message.outbox, message.ordinal
    if (outbox is None) is not (ordinal is None):
        raise Problem(400, Code.BAD_FIELD, "outbox, ordinal: both or none")
    return (message.key, 1) if outbox is None or ordinal is None else (outbox, ordinal)


def _place(request: web.Request, login: Login) -> tuple[str, int]:
    """To whom the message that is to be changed was sent, and its seq."""
    conversation, number = request.match_info["conversation"], request.match_info["seq"]
    if not is_member(conversation, login.user):
        raise Problem(403, Code.NOT_A_MEMBER)
    if not _SEQ.fullmatch(number) or int(number) > LAST_SEQ:
        raise Problem(400, Code.BAD_FIELD, "seq: a number from 1 on")
    return peer_of(conversation, login.user), int(number)


def _answer(answer: Answer) -> web.Response:
    if isinstance(answer, Sent):
        return json_answer(answer)
    raise _problem(answer)


def _problem(answer: NotSent) -> Problem:
    if isinstance(answer, OutOfStep):
        text = f"{Code.OUT_OF_STEP.text}: {answer.reason}, the next one is {answer.next}"
        return Problem(409, Code.OUT_OF_STEP, text)
    code = Code.of(answer.code) or Code.FAILED
    if isinstance(answer, Refused):
        return Problem(422, code)
    status = _STATUS_OF.get(code, 503 if code.retry else 400)
    return Problem(status, code, retry_after=answer.retry_after or 1000)
