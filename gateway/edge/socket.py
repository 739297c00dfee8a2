"""The seam to aiohttp's WebSockets: reads messages, writes all frames of a loop turn at once,
closes what reads too slowly.

Another WebSocket library takes aiohttp's place here and nowhere else.
"""

import asyncio
import contextlib
import logging
import secrets
import struct
from typing import NamedTuple, Protocol

from aiohttp import WSMsgType, web

from gateway.presence.typing import TypingRelay
from gateway.queries.answers import QuestionAnswerer, error_frame
from gateway.receipts import Receipts
from gateway.session import (
    Ask,
    Effect,
    End,
    Greet,
    Reply,
    Seen,
    Session,
    State,
    Submit,
    Type,
    not_submitted,
)
from gateway.submit import Submitter
from schemas.codec import join_frames
from schemas.codes import Close, Code
from schemas.events import Receipt
from schemas.frames import MAX_QUESTIONS, MAX_SOCKET_MESSAGE_BYTES, Question

log = logging.getLogger(__name__)

MAX_UNREAD_BYTES = 1024 * 1024
"""What may wait in a socket's buffers for a device that does not read; then it is closed and comes
back."""
HELLO_SECONDS = 10.0
_FLOOD_SECONDS = 0.05
"""A pause in reading a device that floods: turning its frames away costs time, too, and that is
everybody's."""
_CLOSE_SECONDS = 2.0
_ANSWER_SECONDS = 2.0
"""How long a session that is sent away waits for its answers; what has none by then is sent again
elsewhere."""


class Redirect(NamedTuple):
    """The session belongs on the node at `url`."""

    url: str


class Greeter(Protocol):
    """What it takes to let a session in."""

    async def turn(self) -> None:
        """Return when a hello may be answered: many come at once when a node has died."""

    async def welcome(
        self, connection: "SocketConnection", command_id: int, stay: bool
    ) -> bytes | Close | Redirect:
        """Register the session and its route; the welcome frame, or why not."""

    def too_slow(self) -> None:
        """A session is closed because its device does not read."""

    def goodbye(self, connection: "SocketConnection") -> None:
        """The session has ended."""


class _Leaving:
    """What a session that is sent away waits for."""

    def __init__(self) -> None:
        self.answered = asyncio.Event()
        self.ended = asyncio.Event()


class SocketConnection:
    """One WebSocket from accept to close. `Connection` of the hub."""

    # There are many of these, most of them idle: no dictionaries, and nothing made before it is
    # needed.
    __slots__ = (
        "_asking",
        "_closing",
        "_giving_up",
        "_greeter",
        "_greeting",
        "_leaving",
        "_loop",
        "_out",
        "_questions",
        "_receipts",
        "_scheduled",
        "_session",
        "_socket",
        "_submitter",
        "_transport",
        "_typing",
        "_unanswered",
        "device",
        "goodbye",
        "present",
        "seen",
        "since",
        "user",
    )

    def __init__(
        self,
        session: Session,
        submitter: Submitter,
        receipts: Receipts,
        typing: TypingRelay,
        questions: QuestionAnswerer,
        greeter: Greeter,
        heartbeat: float,
        since: int,
    ) -> None:
        self.user = ""
        self.device = ""
        self.since = since
        self.seen: dict[str, int] = {}
        self._session = session
        self._submitter = submitter
        self._receipts = receipts
        self._typing = typing
        self.present = False
        """Presence counts it."""
        self.goodbye = False
        """The device said that it goes."""
        self._questions = questions
        self._asking: set[asyncio.Task[None]] = set()
        self._unanswered = 0
        self._leaving: _Leaving | None = None
        self._greeter = greeter
        self._out: list[bytes] = []
        self._scheduled = False
        self._closing: Close | None = None
        self._giving_up: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None
        self._greeting: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()
        self._socket = web.WebSocketResponse(
            compress=False,
            max_msg_size=MAX_SOCKET_MESSAGE_BYTES + 1,  # aiohttp refuses what is as large as this
            heartbeat=heartbeat,
            decode_text=False,
            autoclose=False,
        )

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        """Run the socket until it closes."""
        await self._socket.prepare(request)
        self._transport = request.transport
        impatient = self._loop.call_later(HELLO_SECONDS, self._too_late)
        try:
            while True:
                message = await self._socket.receive()
                if message.type is WSMsgType.TEXT:
                    if self._session.state is State.NEW:
                        await self._greeter.turn()
                    for effect in self._session.receive(message.data, self._loop.time()):
                        self._carry_out(effect)
                    if self._session.flooding and self._closing is None:
                        await asyncio.sleep(_FLOOD_SECONDS)
                elif message.type is WSMsgType.BINARY:
                    self.close(Close.NOT_TEXT)
                else:
                    self.goodbye = message.type is WSMsgType.CLOSE and self._closing is None
                    if self.goodbye:
                        await self._socket.close(drain=False)
                    elif self._transport is not None:
                        # answered: another close frame, as aiohttp would send, and a browser takes
                        # the connection for broken
                        self._transport.close()
                    break
        except ConnectionError:
            pass  # it went away while its ping was being answered
        except Exception:
            log.exception("a session of %s failed", self.user or "a device that had not said hello")
            self.close(Close.INTERNAL)
        finally:
            impatient.cancel()
            if self._giving_up is not None:
                self._giving_up.cancel()
            if self._greeting is not None:
                self._greeting.cancel()
            for asking in self._asking:
                asking.cancel()
            self._greeter.goodbye(self)
            if self._leaving is not None:
                self._leaving.ended.set()
        return self._socket

    def push(self, frame: bytes) -> None:
        self.reply(frame)

    def answer(self, frame: bytes) -> None:
        self._out.append(frame)
        self._one_answered()

    async def leave(self) -> None:
        leaving = self._leaving = _Leaving()
        if self._session.state is State.ONLINE:
            self._session.state = State.CLOSED
            if self._unanswered > 0:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_ANSWER_SECONDS):
                        await leaving.answered.wait()
        self.close(Close.DRAINING)
        await leaving.ended.wait()

    def _one_answered(self) -> None:
        self._unanswered -= 1
        if self._unanswered <= 0 and self._leaving is not None:
            self._loop.call_soon(self._leaving.answered.set)  # after the write of this turn

    def reply(self, frame: bytes) -> None:
        """Queue a frame and write it at the end of this loop turn."""
        self._out.append(frame)
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self.flush)

    def flush(self) -> None:
        self._scheduled = False
        if not self._out or self._session.state is State.GREETING or self._closing is not None:
            return
        self._write_out()
        if (
            self._transport is not None
            and self._transport.get_write_buffer_size() > MAX_UNREAD_BYTES
        ):
            self._greeter.too_slow()
            self.close(Close.SLOW_READER)

    def close(self, code: Close, reason: str = "") -> None:
        if self._closing is None:
            self._closing = code
            if self._session.state is not State.GREETING:
                self._write_out()
            self._session.state = State.CLOSED
            self._say_goodbye(code, reason or code.text)

    def _say_goodbye(self, code: Close, text: str) -> None:
        """Tell the device why and wait for its answer, but not long: it may not read any more.

        By hand: aiohttp's own close, called beside `receive`, drops the connection under the
        device's answer, and the device never learns the code.
        """
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        reason = struct.pack("!H", code.number) + text.encode()[:120]
        transport.write(bytes((0x88, len(reason))) + reason)
        self._giving_up = self._loop.call_later(_CLOSE_SECONDS, transport.abort)

    def _write_out(self) -> None:
        """All queued frames in one write."""
        if self._out and self._transport is not None and not self._transport.is_closing():
            payload = join_frames(self._out)
            self._transport.write(_text_header(len(payload)) + payload)
        self._out.clear()

    def _too_late(self) -> None:
        if self._session.state is State.NEW:
            self.close(Close.HELLO_TIMEOUT)

    def _carry_out(self, effect: Effect) -> None:
        if type(effect) is Submit:
            item, to = effect
            self._unanswered += 1
            self._submitter.submit(item, lambda code: self._failed(item, to, code))
        elif type(effect) is Reply:
            self.reply(effect.frame)
        elif type(effect) is Seen:
            if not self._receipts.submit(
                Receipt(effect.conversation, self.user, self.device, effect.seq, effect.read)
            ):
                self.reply(error_frame(None, Code.TRY_LATER))
        elif type(effect) is Type:
            self._typing.typing(self.user, effect.conversation)
        elif type(effect) is Ask:
            self._ask(effect.question)
        elif type(effect) is Greet:
            self.user, self.device = effect.user, effect.device
            self._greeting = asyncio.create_task(self._greet(effect.id, effect.stay))
        elif type(effect) is End:
            self.close(effect.close)

    def _failed(self, item: object, to: str, code: Code) -> None:
        self._one_answered()
        self.reply(not_submitted(item, to, code))  # type: ignore[arg-type]

    def _ask(self, question: Question) -> None:
        if len(self._asking) >= MAX_QUESTIONS:
            self.reply(error_frame(question.id, Code.RATE_LIMITED))
            return
        asking = asyncio.create_task(self._answer(question))
        self._asking.add(asking)
        asking.add_done_callback(self._asking.discard)

    async def _answer(self, question: Question) -> None:
        self.reply(await self._questions.answer(self, question))

    async def _greet(self, command_id: int, stay: bool) -> None:
        welcome = await self._greeter.welcome(self, command_id, stay)
        self._greeting = None
        if isinstance(welcome, Redirect):
            self.close(Close.REDIRECTED, welcome.url)
            return
        if isinstance(welcome, Close):
            self.close(welcome)
            return
        self._session.welcomed()
        self._out.insert(0, welcome)
        self.flush()


def new_node_id() -> str:
    """A node's id, new at each start."""
    return secrets.token_hex(6)


def _text_header(length: int) -> bytes:
    """The header of one final, unmasked WebSocket text frame."""
    if length < 126:
        return bytes((0x81, length))
    if length < 65536:
        return struct.pack("!BBH", 0x81, 126, length)
    return struct.pack("!BBQ", 0x81, 127, length)
