"""A device's session as a pure state machine: frames in, effects out.

    new ─hello→ greeting ─welcomed→ online ─→ closed

No I/O and no clock: time is an argument, in seconds. Every frame has exactly one effect
(gateway/effects.py).
"""

from collections.abc import Callable, Iterable
from enum import Enum, auto
from typing import get_args

import msgspec

from gateway.edge.tokens import BadToken, Login, Why
from gateway.effects import Ask, Change, Effect, End, GiveReceipt, Greet, Renew, Reply, Submit, Type
from gateway.error_frames import error_of_frame, field_of, read_leniently
from schemas import frames, ids
from schemas.codec import UNDECODABLE, decode_command, encode_frame, split_frames
from schemas.codes import Close, Code
from schemas.events import MessageSubmitted, RefusalSubmitted

MAX_BAD_IN_A_ROW = 20
"""Frames that cannot be right; one more ends the session."""
RENEW_SECONDS = 1.0
"""Between two fresh tokens of a session: to check a signature is dear."""
_MAX_CONVERSATIONS = 1000
"""Whose names a session remembers, to save work."""


class State(Enum):
    NEW = auto()
    GREETING = auto()
    ONLINE = auto()
    CLOSED = auto()


class _Envelope(msgspec.Struct):
    """A send whose body cannot be read: it still uses up its ordinal."""

    to: str
    outbox: str
    ordinal: frames.Ordinal
    key: str
    round: frames.Round = 0


_COMMANDS = (
    frames.Hello,
    frames.Send,
    frames.Edit,
    frames.Delete,
    frames.Received,
    frames.Read,
    frames.Typing,
    *get_args(frames.Question),
    frames.Ping,
    frames.Renew,
)
_CHANGES = frames.Edit, frames.Delete
_REPORTS = frames.Received, frames.Read, frames.Typing
_TYPES = {kind.__struct_config__.tag for kind in _COMMANDS}


Verify = Callable[[str, str], Login]


class Session:
    """`verify(token, device)` says what the token says, or raises BadToken. `rate` is in frames/s;
    twice as many may come at once."""

    __slots__ = (
        "_allowance",
        "_bad",
        "_conversations",
        "_counted",
        "_device",
        "_expires",
        "_issued",
        "_outbox",
        "_rate",
        "_renewed",
        "_state",
        "_user",
        "_verify",
    )

    def __init__(self, verify: Verify, rate: float, now: float) -> None:
        self._state = State.NEW
        self._verify = verify
        self._rate = rate
        self._allowance = rate * 2
        self._counted = now
        self._bad = 0
        self._user = ids.UserId("")
        self._device = ids.DeviceId("")
        self._issued = self._expires = 0.0
        self._renewed = -RENEW_SECONDS
        self._conversations: dict[str, ids.ConversationId] = {}
        self._outbox: tuple[str, bytes] = "", b""

    def receive(self, message: bytes, now: float) -> list[Effect]:
        """The effects of one WebSocket message, of 1..n frames, that has come at `now`. A message
        of too many frames ends the session."""
        effects: list[Effect] = []
        lines = split_frames(message)
        if len(lines) > frames.MAX_FRAMES and self._state is not State.CLOSED:
            return [self._end(Close.BAD_PROTOCOL)]
        self._allowance = min(self._rate * 2, self._allowance + (now - self._counted) * self._rate)
        self._counted = now
        for line in lines or [message]:
            if self._state is State.CLOSED:
                break
            effects.append(self._frame(line))
        return effects

    @property
    def state(self) -> State:
        return self._state

    @property
    def user(self) -> ids.UserId:
        """Empty until the hello has been accepted."""
        return self._user

    @property
    def device(self) -> ids.DeviceId:
        """Empty until the hello has been read."""
        return self._device

    @property
    def issued(self) -> float:
        """When the session's token was made, in Unix seconds."""
        return self._issued

    @property
    def expires(self) -> float:
        """When it is not taken any more, likewise."""
        return self._expires

    def welcomed(self) -> None:
        """The welcome is sent: the device may ask and send from now on."""
        if self._state is State.GREETING:
            self._state = State.ONLINE

    def not_opened(self, to: str) -> None:
        """A send that opens something was turned away: when it comes again, it opens it."""
        self._conversations.pop(to, None)

    def end(self) -> None:
        """Accept no more frames."""
        self._state = State.CLOSED

    def _frame(self, line: bytes) -> Effect:
        if self._allowance < 1:
            return Reply(error_of_frame(line, Code.RATE_LIMITED))
        self._allowance -= 1
        try:
            command = decode_command(line)
        except UNDECODABLE as error:
            return self._undecodable(line, error)
        if type(command) is frames.Send and self._state is State.ONLINE:
            return self._send(
                line,
                command.to,
                command.outbox,
                command.ordinal,
                command.key,
                command.round,
                command.body,
            )
        if isinstance(command, _CHANGES) and self._state is State.ONLINE:
            return self._send(
                line,
                command.to,
                command.outbox,
                command.ordinal,
                command.key,
                command.round,
                command.body if isinstance(command, frames.Edit) else "",
                command,
            )
        if isinstance(command, _REPORTS) and self._state is State.ONLINE:
            return self._report(line, command)
        if isinstance(command, frames.Question) and self._state is State.ONLINE:
            return self._ask(line, command)
        if type(command) is frames.Ping and self._state is State.ONLINE:
            self._bad = 0
            return Reply(encode_frame(frames.Pong(command.id)))
        if type(command) is frames.Hello and self._state is State.NEW:
            return self._hello(command)
        if type(command) is frames.Renew and self._state is State.ONLINE:
            return self._renew(line, command)
        return self._refuse(line, Code.OUT_OF_STATE)

    def _hello(self, hello: frames.Hello) -> Effect:
        if not frames.LOWEST_VERSION <= hello.version <= frames.CURRENT_VERSION:
            return self._end(Close.VERSION_UNSUPPORTED)
        try:
            self._device = ids.device_id(hello.device)
            login = self._verify(hello.token, hello.device)
        except ids.InvalidId:
            return self._end(Close.BAD_PROTOCOL)
        except BadToken as bad:
            return self._end(Close.REVOKED if bad.why is Why.REVOKED else Close.UNAUTHORIZED)
        self._user, self._issued, self._expires = login.user, login.issued, login.expires
        self._state = State.GREETING
        return Greet(hello.id, self._user, self._device, hello.stay)

    def _renew(self, line: bytes, command: frames.Renew) -> Effect:
        if self._counted < self._renewed + RENEW_SECONDS:
            return Reply(error_of_frame(line, Code.RATE_LIMITED))
        self._renewed = self._counted
        try:
            login = self._verify(command.token, self._device)
        except BadToken as bad:
            return self._refuse(line, bad.why.code)
        if login.user != self._user:
            return self._refuse(line, Code.TOKEN_OF_ANOTHER)
        self._bad = 0
        self._issued, self._expires = login.issued, login.expires
        return Renew(command.id, login.expires)

    def _send(
        self,
        line: bytes,
        to: str,
        outbox: str,
        ordinal: int,
        key: str,
        round_: int,
        body: str | None,
        change: frames.Edit | frames.Delete | None = None,
    ) -> Effect:
        """A send, or a change; `body` is None if it could not be read."""
        field = "to"
        opens = False
        try:
            conversation = self._conversations.get(to)
            if conversation is None:
                conversation, opens = self._conversation(to), True
            field = "outbox"
            if outbox != self._outbox[0]:
                self._outbox, opens = (outbox, ids.uuid_bytes(outbox)), True
            field = "key"
            key_bytes = ids.uuid_bytes(key)
        except ids.InvalidId:
            return self._refuse(line, Code.BAD_FIELD, field)
        self._bad = 0
        code = None if type(change) is frames.Delete else _body_code(body)
        head = conversation, self._user, self._device, self._outbox[1], ordinal, key_bytes, round_
        if code is not None:
            return Submit(RefusalSubmitted(*head, code.number), to, opens)
        item = MessageSubmitted(*head, body or "")
        return Submit(item, to, opens) if change is None else Change(item, to, opens, change.seq)

    def _report(
        self, line: bytes, command: frames.Received | frames.Read | frames.Typing
    ) -> Effect:
        if not ids.is_member(command.conversation, self._user):
            return self._refuse(line, Code.NOT_A_MEMBER)
        self._bad = 0
        if isinstance(command, frames.Typing):
            return Type(command.conversation)
        return GiveReceipt(command.conversation, command.seq, isinstance(command, frames.Read))

    def _ask(self, line: bytes, question: frames.Question) -> Effect:
        if isinstance(question, frames.Sync):
            asked: Iterable[str] = question.cursors
        elif isinstance(question, frames.GetMarks):
            asked = question.conversations
        elif isinstance(question, frames.Watch | frames.GetPeople | frames.SetPrivacy):
            asked = ()
        elif isinstance(question, frames.Decision):
            if not self._is_another(question.user):
                return self._refuse(line, Code.BAD_FIELD, "user")
            asked = ()
        else:
            asked = (question.conversation,)
        if not all(ids.is_member(conversation, self._user) for conversation in asked):
            return self._refuse(line, Code.NOT_A_MEMBER)
        self._bad = 0
        return Ask(question)

    def _is_another(self, user: str) -> bool:
        try:
            return ids.user_id(user) != self._user
        except ids.InvalidId:
            return False

    def _conversation(self, to: str) -> ids.ConversationId:
        conversation = ids.conversation_of(self._user, ids.user_id(to))
        if len(self._conversations) >= _MAX_CONVERSATIONS:
            self._conversations.clear()
        self._conversations[to] = conversation
        return conversation

    def _undecodable(self, line: bytes, error: Exception) -> Effect:
        named = read_leniently(line)
        if named is None:
            return self._refuse(line, Code.BAD_FRAME)
        kind = named.get("t")
        if kind == "send" and "body" in named and self._state is State.ONLINE:
            try:
                send = msgspec.convert(named, _Envelope)
            except (
                msgspec.ValidationError,
                UnicodeEncodeError,
            ) as wrong:  # the latter for a field's name that is not text
                error = wrong
            else:
                return self._send(
                    line, send.to, send.outbox, send.ordinal, send.key, send.round, None
                )
        if isinstance(kind, str) and kind not in _TYPES:
            return self._refuse(line, Code.UNKNOWN_FRAME)
        return self._refuse(line, Code.BAD_FIELD, field_of(error))

    def _refuse(self, line: bytes, code: Code, field: str = "") -> Effect:
        """A frame that cannot be right; before the welcome, and after many of them, the end."""
        self._bad += 1
        if self._state is State.NEW or self._bad > MAX_BAD_IN_A_ROW:
            return self._end(Close.BAD_PROTOCOL)
        return Reply(error_of_frame(line, code, field))

    def _end(self, close: Close) -> Effect:
        self._state = State.CLOSED
        return End(close)


def _body_code(body: str | None) -> Code | None:
    if body is None:
        return Code.BODY_INVALID
    if not body:
        return Code.BODY_EMPTY
    if len(body) * 4 > frames.MAX_BODY_BYTES and len(body.encode()) > frames.MAX_BODY_BYTES:
        return Code.BODY_TOO_LARGE
    return None
