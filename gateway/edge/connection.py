"""One device's connection, from accept to end: it carries out a session's effects, and writes
frames for the device.

It knows no sockets: it writes to a `Transport`, and the code that reads calls `receive` and
`ended`.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator

from gateway.edge.asking import Asking
from gateway.edge.node_services import NodeServices
from gateway.edge.transport import Transport
from gateway.effects import Ask, Change, Effect, End, GiveReceipt, Greet, Renew, Reply, Submit, Type
from gateway.error_frames import error_of_send
from gateway.greeter import Refusal
from gateway.queries.answers import error_frame
from gateway.quotas import Kind
from gateway.session import Session, State
from schemas.codec import encode_frame
from schemas.codes import Close, Code
from schemas.events import Receipt, SubmittedItem
from schemas.frames import Renewed
from schemas.ids import DeviceId, UserId

log = logging.getLogger(__name__)

HELLO_SECONDS = 10.0
"""A connection without a good hello by then is closed."""
WELCOME_SECONDS = 10.0
"""A hello without a welcome by then: the connection is closed."""
_TYPING_COST = 0.2
"""Of a page: five `typing` cost as much. One that is not paid for is lost."""
_ANSWER_SECONDS = 2.0
"""How long a leaving connection waits for the answers to its sends. The device sends again,
elsewhere, what has none by then."""


class _Leaving:
    """What a connection that is sent away waits for."""

    def __init__(self) -> None:
        self.answered = asyncio.Event()
        self.ended = asyncio.Event()


class Connection:
    """Implements gateway.greeter.Arriving. `since` is the time, by `Routes.now`, when its request
    reached the node, from `address`."""

    # There are many of these, most of them idle: no dictionaries, and nothing made before it is
    # needed.
    __slots__ = (
        "_asking",
        "_closing",
        "_gone",
        "_greeting",
        "_leaving",
        "_out",
        "_patience",
        "_queued",
        "_services",
        "_session",
        "_since",
        "_transport",
        "_unanswered",
        "_welcomed",
        "due",
    )

    def __init__(
        self,
        services: NodeServices,
        session: Session,
        transport: Transport,
        since: int,
        address: str = "",
    ) -> None:
        self._services = services
        self._session = session
        self._transport = transport
        self._since = since
        self._out: list[bytes] = []
        self._queued = False
        """The writer will write `_out`."""
        self._closing: Close | None = None
        self._gone = False
        self._welcomed = False
        self._greeting: asyncio.Task[None] | None = None
        self._asking: Asking | None = None
        self._unanswered = 0
        """Sends without an answer."""
        self._leaving: _Leaving | None = None
        self.due = 0
        """When `Expiries` looks at it."""
        self._patience: asyncio.TimerHandle | None = asyncio.get_running_loop().call_later(
            HELLO_SECONDS, self.close, Close.HELLO_TIMEOUT
        )
        """While the connection has not been welcomed."""
        services.greeter.arrived(self, address)

    @property
    def user(self) -> UserId:
        return self._session.user

    @property
    def device(self) -> DeviceId:
        return self._session.device

    @property
    def since(self) -> int:
        return self._since

    @property
    def issued(self) -> float:
        return self._session.issued

    @property
    def expires(self) -> float:
        return self._session.expires

    @property
    def closing(self) -> Close | None:
        """Why this node has closed the connection, if it has."""
        return self._closing

    # What the device does

    def receive(self, message: bytes) -> None:
        """Process one WebSocket message."""
        if self._session.state is State.NEW:
            self._transport.pause()
            self._services.greeter.take_turn(self, lambda: self._read_hello(message))
        elif self._services.flood_gate.lets_pass(self.user, message):
            self._read(message)
        else:
            self._transport.pause()
            self._read_later(self._services.flood_gate.pieces(self.user, message))

    def beat(self, answer: Callable[[], None]) -> None:
        """A WebSocket's ping or pong has come: `answer` it, now or when it is the user's turn."""
        if self._services.flood_gate.lets_pass(self.user, b""):
            answer()
            return

        def answer_later() -> None:
            answer()
            self._transport.resume()

        self._transport.pause()
        self._services.flood_gate.put(self, answer_later, self.user)

    def ended(self, said_goodbye: bool) -> None:
        """The connection is gone; `said_goodbye`: the device closed it, and not only its network
        broke."""
        self._gone = True
        self._session.end()
        self._arrived()
        if self._greeting is not None:
            self._greeting.cancel()
        if self._asking is not None:
            self._asking.cancel()
        self._services.greeter.ended(self, self._welcomed, said_goodbye)
        self._services.flood_gate.turns.leave(self)
        self._services.expiries.leave(self)
        if self._leaving is not None:
            self._leaving.ended.set()

    # What the node does

    def push(self, frame: bytes) -> None:
        self._out.append(frame)
        if not self._queued:
            self._queued = True
            self._services.writer.add(self)

    def answer(self, frame: bytes) -> None:
        self.push(frame)
        self._one_answered()

    def write_queued(self) -> None:
        """Write all queued frames, in one write. Before the welcome they wait for it."""
        self._queued = False
        if self._closing is not None or self._session.state is State.GREETING:
            return
        self._write()
        if self._services.writer.is_too_slow(self.user, self._transport.unsent()):
            self.close(Close.SLOW_READER)

    def close(self, code: Close, reason: str = "") -> None:
        if self._closing is not None:
            return
        self._closing = code
        if self._session.state is not State.GREETING:
            self._write()
        self._session.end()
        self._transport.close(code, reason or code.text)

    def abort(self) -> None:
        """End the connection now."""
        self._transport.abort()

    def make_room(self) -> None:
        self._arrived()
        self.close(Close.MADE_ROOM)

    async def leave(self) -> None:
        if self._gone:  # it ended after the node chose it, and will not end again
            return
        leaving = self._leaving = _Leaving()
        if self._session.state is State.ONLINE:
            self._session.end()
            if self._unanswered > 0:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_ANSWER_SECONDS):
                        await leaving.answered.wait()
        self.close(Close.DRAINING)
        await leaving.ended.wait()

    def _write(self) -> None:
        if self._out:
            out, self._out = self._out, []
            self._transport.write(out)

    def _one_answered(self) -> None:
        self._unanswered -= 1
        if self._unanswered <= 0 and self._leaving is not None:
            asyncio.get_running_loop().call_soon(
                self._leaving.answered.set
            )  # after the write of this turn

    def _arrived(self) -> None:
        """It has been welcomed, or refused, or is gone."""
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
            self._services.greeter.settled(self)

    # Messages

    def _read_hello(self, message: bytes) -> None:
        self._transport.resume()
        self._read(message)

    def _read_later(self, pieces: Iterator[bytes]) -> None:
        """Read each piece of a message when it is the user's turn, then the next message."""

        def read() -> None:
            piece = next(pieces, None)
            if piece is None or self._closing is not None:
                self._transport.resume()
            else:
                self._read(piece)
                self._read_later(pieces)

        self._services.flood_gate.put(self, read, self.user)

    def _read(self, message: bytes) -> None:
        now = asyncio.get_running_loop().time()
        try:
            for effect in self._session.receive(message, now):
                self._carry_out(effect)
        except Exception:
            log.exception("a session of %s failed", self.user or "a device that had not said hello")
            self.close(Close.INTERNAL)

    def _carry_out(self, effect: Effect) -> None:
        if type(effect) is Submit or type(effect) is Change:
            item, to, opens = effect[:3]
            self._unanswered += 1
            self._services.flood_gate.sent(self.user, to)
            wait = self._services.quotas.take(self.user, Kind.SENDS)
            if not wait and opens:
                wait = self._services.quotas.take(self.user, Kind.OPENINGS)
            if wait:
                self._session.not_opened(to)
                self.failed(item, to, Code.QUOTA, wait)
                return
            if type(effect) is Change:
                self._asks().change(effect)
                return
            self._services.sends.submit(item, to, lambda code: self.failed(item, to, code))
        elif type(effect) is Reply:
            self.push(effect.frame)
        elif type(effect) is GiveReceipt:
            if wait := self._services.quotas.take(self.user, Kind.SENDS):
                self.push(error_frame(None, Code.QUOTA, wait))
                return
            receipt = Receipt(effect.conversation, self.user, self.device, effect.seq, effect.read)
            self._services.receipts.submit(receipt, lambda code: self.push(error_frame(None, code)))
        elif type(effect) is Type:
            if not self._services.quotas.take(self.user, Kind.QUESTIONS, _TYPING_COST):
                self._services.typing.typing(self.user, effect.conversation)
        elif type(effect) is Ask:
            self._asks().ask(effect.question)
        elif type(effect) is Greet:
            if self._patience is not None:
                self._patience.cancel()
                self._patience = asyncio.get_running_loop().call_later(
                    WELCOME_SECONDS, self.close, Close.SLOT_LOST
                )
            self._greeting = asyncio.create_task(self._greet(effect.id, effect.stay))
        elif type(effect) is Renew:
            self._services.expiries.put(self)
            self.push(encode_frame(Renewed(effect.id, int(effect.expires * 1000))))
        elif type(effect) is End:
            self.close(effect.close)

    def _asks(self) -> Asking:
        if self._asking is None:
            self._asking = Asking(self, self._services)
        return self._asking

    def failed(
        self, item: SubmittedItem, to: str, code: Code, retry_after: int | None = None
    ) -> None:
        self._one_answered()
        self.push(error_of_send(item, to, code, retry_after))

    async def _greet(self, command_id: int, stay: bool) -> None:
        try:
            welcome = await self._services.greeter.welcome(self, command_id, stay)
        except Exception:
            log.exception("a hello of %s could not be answered", self.user)
            welcome = Refusal(Close.INTERNAL)
        self._greeting = None
        self._arrived()
        if isinstance(welcome, Refusal):
            self.close(welcome.close, welcome.reason)
            return
        if self._services.logins.revoked(self.user, self.device, self.issued) is not None:
            self.close(Close.REVOKED)  # while the welcome was under way
            return
        self._welcomed = True
        self._session.welcomed()
        self._services.expiries.put(self)
        self._out.insert(0, welcome)
        self.write_queued()
