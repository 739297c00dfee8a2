"""Sends that come by HTTP request. A user who sends over HTTP has a session of the usual code on
each node that the requests come to; its transport is memory, and it ends when no request has come
for a while.

It has a route, by which the answers come, and is no device otherwise: the user does not seem to be
online.
"""

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from itertools import islice
from typing import NamedTuple

from connectors.redis.client import RedisUnavailable
from gateway.edge.connection import Connection
from gateway.edge.node_services import NodeServices
from gateway.edge.tokens import Login
from gateway.greeter import Arriving, Refusal
from gateway.registry import ConnectionRegistry, RegisteredConnection
from gateway.route_writer import RouteWriter, TooManyDevices
from gateway.session import Session
from schemas.codec import decode_server_frames, encode_frame, join_frames
from schemas.codes import Close, Code
from schemas.frames import (
    CURRENT_VERSION,
    OUTBOX_WINDOW,
    Delete,
    Edit,
    Error,
    Hello,
    Message,
    OutOfStep,
    Refused,
    Send,
    Sent,
    Welcome,
)
from schemas.ids import HTTP_DEVICE_PREFIX, peer_of

ANSWER_SECONDS = 10.0
"""How long a request waits for the answers to its sends. A client that sends again gets those that
came later."""
IDLE_SECONDS = 30.0
"""A session without a request ends after this time: the next one writes its route again."""
MAX_SENDERS = 1_000
"""Users who send over HTTP on a node. The one whose last request is oldest makes room."""
MAX_UNDER_WAY = 5_000
"""Sends over HTTP without an answer on a node: 80 MiB of bodies at most."""

AnySend = Send | Edit | Delete
NotSent = Refused | OutOfStep | Error
Answer = Sent | NotSent
"""What a send gets, as on a socket."""


class NoSession(Exception):
    """The user cannot send here now; `close` is the code with which a socket would end."""

    def __init__(self, close: Close) -> None:
        super().__init__(close.text)
        self.close = close


_Place = tuple[str, str, int]
"""The recipient, outbox and ordinal of a send."""


class _Waiting(NamedTuple):
    """A send without an answer."""

    key: str
    answered: asyncio.Future[Answer]


class HttpSenders:
    """The users who send over HTTP on the node `node`. Use it inside a running loop. A user may
    have `devices` on the node, and send `rate` frames/s."""

    def __init__(
        self,
        node: str,
        services: NodeServices,
        registry: ConnectionRegistry,
        routes: RouteWriter,
        devices: int,
        rate: float,
    ) -> None:
        self._device = HTTP_DEVICE_PREFIX + node
        self._services = services._replace(greeter=_Greeter(registry, routes, devices))
        self._now = routes.now
        self._rate = rate
        self._senders: OrderedDict[str, _Sender] = OrderedDict()
        """By user; the one whose last request came last is at the end."""
        self._under_way = 0

    def __len__(self) -> int:
        return len(self._senders)

    async def send(self, login: Login, sends: Sequence[AnySend]) -> list[Answer]:
        """Send in this order as the user of `login`; the answers in the same order. One that has
        not come in time is an `error`, and whether the message was taken is not known then. Raises
        NoSession."""
        if self._under_way + len(sends) > MAX_UNDER_WAY:
            return [_later(send) for send in sends]
        self._under_way += len(sends)
        try:
            async with self._session(login) as sender:
                answers = [sender.queue(send) for send in sends]
                sender.read()
                await asyncio.wait(answers, timeout=ANSWER_SECONDS)
                for send in sends:
                    sender.settle(_place_of(send), send.key, _later(send))
                return [answer.result() for answer in answers]
        finally:
            self._under_way -= len(sends)

    async def receive(self, login: Login, deliver: Callable[[], Awaitable[None]]) -> None:
        """With a session of this user here, call `deliver`; returns when the session has been
        pushed a message since. Raises NoSession, TimeoutError."""
        async with self._session(login) as sender:
            sender.pushed.clear()
            async with asyncio.timeout(ANSWER_SECONDS):
                await deliver()
                await sender.pushed.wait()

    @contextlib.asynccontextmanager
    async def _session(self, login: Login) -> AsyncIterator["_Sender"]:
        """A session of the user that has begun, and does not end meanwhile for want of requests.
        Raises NoSession."""
        sender = self._sender(login)
        sender.requests += 1
        try:
            await sender.begun.wait()
            if sender.connection.closing is not None:
                raise NoSession(sender.connection.closing)
            yield sender
        finally:
            sender.requests -= 1
            sender.rest()

    def _sender(self, login: Login) -> "_Sender":
        sender = self._senders.get(login.user)
        if sender is None:
            if len(self._senders) >= MAX_SENDERS:
                self._make_room()
            sender = self._senders[login.user] = _Sender(self._ended)
            now = asyncio.get_running_loop().time()
            session = Session(lambda token, device: login, self._rate, now)
            sender.begin(Connection(self._services, session, sender, self._now()), self._device)
        self._senders.move_to_end(login.user)
        return sender

    def _make_room(self) -> None:
        idle = next((one for one in self._senders.values() if not one.requests), None)
        if idle is None:
            raise NoSession(Close.MADE_ROOM)
        idle.connection.close(Close.MADE_ROOM)

    def _ended(self, sender: "_Sender") -> None:
        user = sender.connection.user
        if self._senders.get(user) is sender:
            del self._senders[user]


class _Greeter:
    """`Greets`: lets a sender in with a route, and without anybody noticing."""

    def __init__(self, registry: ConnectionRegistry, routes: RouteWriter, devices: int) -> None:
        self._registry = registry
        self._routes = routes
        self._devices = devices

    def arrived(self, connection: Arriving, address: str) -> None: ...

    def settled(self, connection: Arriving) -> None: ...

    def take_turn(self, connection: Arriving, read: Callable[[], None]) -> None:
        read()

    async def welcome(
        self, connection: RegisteredConnection, command_id: int, stay: bool
    ) -> bytes | Refusal:
        if self._registry.is_full(connection.user, connection.device, self._devices):
            return Refusal(Close.TOO_MANY_DEVICES)
        self._registry.add(connection)
        try:
            latest = await self._routes.write(connection)
        except RedisUnavailable:
            return Refusal(Close.SLOT_LOST)
        except TooManyDevices:
            return Refusal(Close.TOO_MANY_DEVICES)
        if not latest:
            return Refusal(Close.SLOT_LOST)
        return encode_frame(Welcome(command_id, CURRENT_VERSION, "", "", "", "", 0, 0.0))

    def ended(self, connection: RegisteredConnection, welcomed: bool, said_goodbye: bool) -> None:
        if self._registry.remove(connection):
            self._routes.remove(connection)


class _Sender:
    """`Transport` of one user's session: gives each answer to the request that waits for it."""

    def __init__(self, ended: Callable[["_Sender"], None]) -> None:
        self._ended = ended
        self._waiting: dict[_Place, _Waiting] = {}
        self._unread: dict[_Place, bytes] = {}
        """The frames of those that the session has not read, in order."""
        self._paused = False
        self._resting: asyncio.TimerHandle | None = None
        self.begun = asyncio.Event()
        """It has been welcomed, or has ended."""
        self.pushed = asyncio.Event()
        """A message has come, since somebody has cleared this."""
        self.requests = 0
        """That are under way."""
        self.connection: Connection

    def begin(self, connection: Connection, device: str) -> None:
        self.connection = connection
        connection.receive(encode_frame(Hello(0, CURRENT_VERSION, "", device, True)))

    def queue(self, send: AnySend) -> asyncio.Future[Answer]:
        """Its answer, when it has been read. A send that is under way already is not sent twice."""
        place = _place_of(send)
        known = self._waiting.get(place)
        if known is not None and known.key == send.key:
            return known.answered
        answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        # Of two keys for one ordinal the server says `reused`, once the first has its answer.
        if known is not None or self.connection.closing is not None:
            answered.set_result(_later(send))
        else:
            self._waiting[place] = _Waiting(send.key, answered)
            self._unread[place] = encode_frame(send)
        return answered

    def read(self) -> None:
        """Let the session read what is queued, unless it pauses."""
        while self._unread and not self._paused:
            some = list(islice(self._unread, OUTBOX_WINDOW))
            self.connection.receive(b"\n".join([self._unread.pop(place) for place in some]))

    def settle(self, place: _Place, key: str | None, answer: Answer) -> None:
        """The answer to what waits there, if something does. `key` None: whatever its key is."""
        waiting = self._waiting.get(place)
        if waiting is not None and key in (None, waiting.key):
            del self._waiting[place]
            self._unread.pop(place, None)  # its request may have given it up
            waiting.answered.set_result(answer)

    def rest(self) -> None:
        """A request has ended: after the last one the session waits for another, and ends."""
        if self._resting is not None:
            self._resting.cancel()
            self._resting = None
        if not self.requests and self.connection.closing is None:
            self._resting = asyncio.get_running_loop().call_later(
                IDLE_SECONDS, self.connection.close, Close.MADE_ROOM
            )

    # `Transport`

    def write(self, frames: Sequence[bytes]) -> None:
        for frame in decode_server_frames(join_frames(frames)):
            if isinstance(frame, Welcome):
                self.begun.set()
            elif isinstance(frame, Sent | Refused | OutOfStep):
                to = peer_of(frame.conversation, self.connection.user)
                self.settle((to, frame.outbox, frame.ordinal), frame.key, frame)
            elif isinstance(frame, Message):
                self.pushed.set()
            elif isinstance(frame, Error) and frame.to and frame.outbox and frame.ordinal:
                self.settle((frame.to, frame.outbox, frame.ordinal), None, frame)

    def close(self, code: Close, reason: str) -> None:
        if self._resting is not None:
            self._resting.cancel()
        self._ended(self)
        self.begun.set()
        for place in list(self._waiting):
            self.settle(place, None, _later_at(place))
        asyncio.get_running_loop().call_soon(self.connection.ended, True)

    def abort(self) -> None:
        self.connection.close(Close.INTERNAL)

    def unsent(self) -> int:
        return 0

    def pause(self) -> None:
        self._paused = True

    def resume(self) -> None:
        self._paused = False
        asyncio.get_running_loop().call_soon(self.read)


def _place_of(send: AnySend) -> _Place:
    return send.to, send.outbox, send.ordinal


def _later(send: AnySend) -> Error:
    return _later_at(_place_of(send))


def _later_at(place: _Place) -> Error:
    to, outbox, ordinal = place
    code = Code.TRY_LATER
    return Error(code.number, code.retry, code.text, to=to, outbox=outbox, ordinal=ordinal)
