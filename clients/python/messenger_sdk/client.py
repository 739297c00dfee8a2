"""The client: one device, connected as long as it is open, sending and showing in order.

connecting ─→ online ─→ waiting ─→ connecting …        stopped: closed here, or told not to come back
"""

import asyncio
import contextlib
import itertools
import logging
import random
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import aiohttp

from messenger_sdk.backoff import delay
from messenger_sdk.catching_up import CatchingUp
from messenger_sdk.errors import (
    ClientClosed,
    ConnectionRefused,
    FolderOfAnother,
    MessengerError,
    SendRefused,
    SendUnknown,
)
from messenger_sdk.events import (
    Event,
    HistoryPage,
    MarksChanged,
    MessageReceived,
    PresenceChanged,
    SendFailed,
    StateChanged,
    Typing,
    received,
)
from messenger_sdk.history import History
from messenger_sdk.marks import MarkBook
from messenger_sdk.outbox import Change, Done, Outbox, SavedSend, SentMessage
from messenger_sdk.outbox_file import OutboxFile
from messenger_sdk.shown_file import ShownFile
from messenger_sdk.timelines import Shown, Timelines
from messenger_sdk.watching import WatchList
from schemas import frames
from schemas.codec import Undecodable, decode_server_frames, encode_frame, join_frames
from schemas.codes import Close, Code
from schemas.ids import UserId, conversation_of, members_of_valid, user_id

log = logging.getLogger(__name__)

MAX_EVENTS = 10_000
"""Events that nobody has taken; then the oldest are dropped and `dropped_events` counts them."""
_WELCOME_SECONDS = 10.0
_LASTING_SECONDS = 5.0
"""A session that ends sooner counts as another failed attempt, or a node that welcomes and drops would be stormed."""
_TYPING_SECONDS = 3.0
_LOOK_UP_PAGES = 100
"""How far back a send is looked for that the server no longer knows."""
_HEARTBEAT_SECONDS = 25.0
"""Pings of our own: a dead network is noticed after half as long again, however quiet the conversations are."""


class Client:
    """One device of a user.

    `url` is the gateway's, http(s)://host:port; of several, each attempt takes the next. `folder` keeps unanswered sends and
    what was shown over restarts: sends go out, and what came meanwhile is shown. It is made if it does not exist, belongs to
    this user and device, and to one process at a time (else FolderInUse). Without it unanswered sends are lost with the
    process, and the next one begins anew. `clock` in seconds, `jitter` from [0, 1), `new_id` 32 random hex digits.
    """

    def __init__(
        self,
        url: str | Sequence[str],
        token: str,
        device: str,
        *,
        folder: Path | None = None,
        clock: Callable[[], float] | None = None,
        jitter: Callable[[], float] = random.random,
        new_id: Callable[[], str] = lambda: uuid.uuid4().hex,
    ) -> None:
        self.user = ""
        self.state = "connecting"
        self.dropped_events = 0
        self._ids = itertools.count(2)
        self._watch_list = WatchList(jitter, self._ids)
        self._typing: dict[str, float] = {}
        self._history = History(self._put, self._ids, jitter)
        self._urls: Iterator[str] = itertools.cycle([url] if isinstance(url, str) else url)
        self._redirected: str | None = None
        self._token = token
        self._device = device
        self._clock = clock or asyncio.get_running_loop().time
        self._jitter = jitter
        self._new_id = new_id
        self._changes: list[Change] = []
        self._file: OutboxFile | None = None
        self._shown: ShownFile | None = None
        self._log_id, shown, heard, read = "", None, None, None
        if folder is None:
            self._outbox = Outbox(new_id)
        else:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = OutboxFile(folder / "outbox.sqlite")
            self._shown = ShownFile(folder / "shown.sqlite")
            self._outbox = Outbox(new_id, saved=self._file.load(new_id()), journal=self._changes.append)
            self._log_id, shown, heard, read = self._shown.load()
        self._timelines = Timelines(shown if self._log_id else None)
        self._catching_up = CatchingUp(self._timelines, jitter, self._ids)
        self._marks = MarkBook(jitter, self._ids, heard, read)
        self._results: dict[str, asyncio.Future[SentMessage]] = {}
        self._sending = {send.key: send for send in self._outbox.unanswered()}
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self._online = asyncio.Event()
        self._stopped: MessengerError | None = None
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._flushing: asyncio.TimerHandle | asyncio.Handle | None = None
        self._resend: asyncio.TimerHandle | None = None
        self._asking: asyncio.TimerHandle | None = None
        self._background: set[asyncio.Task[None]] = set()
        self._run_task: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()

    async def __aenter__(self) -> Self:
        self._run_task = asyncio.create_task(self._run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Disconnect for good. What is unanswered, and whoever waits for `online`, gets ClientClosed; `events` ends. Unanswered
        sends stay in the outbox file, if there is one."""
        if self._run_task is not None:
            self._run_task.cancel()
            await asyncio.gather(self._run_task, return_exceptions=True)
        if self._stopped is None:
            self._stop(ClientClosed("the client was closed"), 0)
        if self._file is not None:
            with contextlib.suppress(MessengerError):  # an answer that is not noted is asked for again
                self._save()
            self._file.close()
            self._file = None
        if self._shown is not None:
            self._shown.close()
            self._shown = None

    def unanswered(self) -> list[SavedSend]:
        """Sends without an answer, those of before this start included, by recipient and in order."""
        return self._outbox.unanswered()

    async def online(self) -> None:
        """Wait until the session stands. Raises ConnectionRefused if the server does not want this device, or ClientClosed."""
        await self._online.wait()
        if self._stopped is not None:
            raise self._stopped

    def submit(self, to: str, body: str) -> "asyncio.Future[SentMessage]":
        """Queue a message now, in order; the future ends when it is sent. With an outbox file it is safe when this returns.

        Raises OutboxFull, FolderUnreadable, InvalidId, ConnectionRefused, ClientClosed, and SendRefused for a body that can
        never be taken.

        The future raises SendRefused, SendUnknown, ConnectionRefused or ClientClosed.
        """
        if self._stopped is not None:
            raise self._stopped
        recipient = user_id(to)
        try:
            size = len(body.encode())
        except UnicodeEncodeError:
            raise SendRefused(Code.BODY_INVALID.number) from None
        if size > frames.MAX_BODY_BYTES:
            raise SendRefused(Code.BODY_TOO_LARGE.number)
        if self.user:
            conversation_of(UserId(self.user), recipient)
        key = self._new_id()
        self._outbox.add(recipient, key, body)
        try:
            self._save()
        except MessengerError as error:
            self._fail(error)
            raise
        result: asyncio.Future[SentMessage] = self._loop.create_future()
        self._results[key] = result
        self._sending[key] = SavedSend(key, recipient, body, 0)
        self._flush_soon()
        return result

    async def send(self, to: str, body: str) -> SentMessage:
        """Send a message and wait until it has its number, however long the network is away. Raises as `submit`."""
        return await self.submit(to, body)

    async def history(
        self, conversation: str, *, before: int | None = None, after: int | None = None, limit: int = 50
    ) -> "HistoryPage":
        """Messages from any time: the newest below `before`, or the oldest above `after`; of neither, the newest. Waits until
        the server can answer. Raises HistoryRefused, ConnectionRefused, ClientClosed.

        `limit` 1-100; a page may hold fewer messages if they are large.
        """
        return await self._history.page(conversation, before, after, limit)

    def read(self, conversation: str, seq: int) -> None:
        """The person has read all up to `seq`: told to the other user, and to this user's other devices. With a folder it is
        told after the next start, if it was not by then. Raises FolderUnreadable."""
        self._marks.read(conversation, seq)
        try:
            if self._shown is not None:
                self._shown.read(conversation, seq)
        except MessengerError as error:
            self._fail(error)
            raise
        self._flush_soon()

    def mark(self, conversation: str, user: str) -> MarksChanged:
        """What a user has received and read of a conversation, as far as this device knows."""
        return self._shown_mark(self._marks.mark(conversation, user))

    def watch(self, users: Iterable[str]) -> None:
        """Tell of the presence of these users, at most 200 with whom there is a conversation, and of no others: PresenceChanged
        and Typing are events from now on."""
        self._watch_list.set(users, self._clock())
        self._ask()

    def typing(self, conversation: str) -> None:
        """The person is writing; call it at each keystroke. Told on every few seconds, and only while online."""
        now = self._clock()
        if self._socket is not None and now - self._typing.get(conversation, -_TYPING_SECONDS) >= _TYPING_SECONDS:
            self._typing[conversation] = now
            self._write(self._socket, [encode_frame(frames.Typing(conversation))])

    def unread(self, conversation: str) -> int:
        """How many messages of a conversation the person has not read. Who writes has read what is before it."""
        return max(0, self._timelines.head(conversation) - self._marks.read_up_to(conversation))

    async def events(self) -> AsyncIterator[Event]:
        """What happens, in order, until the client stops. A message counts as shown when the next event is asked for.

        Raises FolderUnreadable if that cannot be kept.
        """
        while self._stopped is None or not self._events.empty():
            event = await self._events.get()
            yield event
            if isinstance(event, MessageReceived):
                theirs = event.sender != self.user
                if theirs:
                    self._marks.received(event.conversation, event.seq)
                    self._flush_soon()
                try:
                    if self._shown is not None:
                        self._shown.save(event.conversation, event.seq, theirs)
                except MessengerError as error:
                    self._fail(error)
                    raise
            if isinstance(event, StateChanged) and event.state == "stopped":
                return

    # Connection

    async def _run(self) -> None:
        attempt = 0
        async with aiohttp.ClientSession() as http:
            while True:
                self._become("connecting")
                began = self._clock()
                try:
                    code = await self._session(http)
                except MessengerError as error:
                    self._stop(error, 0)
                    return
                except Exception as error:
                    log.exception("the client failed")
                    self._stop(MessengerError(f"a fault of the client: {error!r}"), 0)
                    return
                if self.state == "online" and self._clock() - began >= _LASTING_SECONDS:
                    attempt = 0
                self._online.clear()
                self._socket = None
                if 4500 <= code < 5000:
                    self._stop(ConnectionRefused(code), code)
                    return
                if self._redirected is not None:
                    continue  # at once, and once: there the device says that it stays
                self._become("waiting", code)
                await asyncio.sleep(delay(attempt, self._jitter()))
                attempt += 1

    async def _session(self, http: aiohttp.ClientSession) -> int:
        """One connection until it ends; the close code, 0 if there was none."""
        try:
            stay, base = self._redirected is not None, self._redirected or next(self._urls)
            self._redirected = None
            url = base.rstrip("/") + "/v1/socket"
            closing = aiohttp.ClientWSTimeout(ws_close=1.0)
            async with http.ws_connect(url, max_msg_size=0, heartbeat=_HEARTBEAT_SECONDS, timeout=closing) as socket:
                hello = frames.Hello(1, frames.CURRENT_VERSION, self._token, self._device, stay)
                await socket.send_str(encode_frame(hello).decode())
                patience: float | None = _WELCOME_SECONDS
                while True:
                    message = await socket.receive(patience)
                    if message.type is aiohttp.WSMsgType.CLOSE:
                        if message.data == Close.REDIRECTED.number:
                            self._redirected = str(message.extra or "") or None
                        return int(message.data or 0)
                    if message.type is not aiohttp.WSMsgType.TEXT:
                        return socket.close_code or 0
                    for frame in decode_server_frames(message.data):
                        if type(frame) is frames.Welcome:
                            self._welcomed(socket, frame)
                            patience = None
                        else:
                            self._take(frame)
        except (aiohttp.ClientError, OSError, TimeoutError, Undecodable) as error:
            log.debug("connection: %s", error)
            return 0

    def _welcomed(self, socket: aiohttp.ClientWebSocketResponse, frame: frames.Welcome) -> None:
        if self._file is not None and (owner := self._file.user(frame.user)) != frame.user:
            raise FolderOfAnother(f"the folder holds messages of {owner}, and this is {frame.user}")
        self.user = frame.user
        if self._log_id and self._log_id != frame.log:
            self._timelines = Timelines()  # another numbering of messages
            if self._shown is not None:
                self._shown.forget()
            self._catching_up = CatchingUp(self._timelines, self._jitter, self._ids)
            self._marks = MarkBook(self._jitter, self._ids)
        self._log_id = frame.log
        self._socket = socket
        self._outbox.reconnected()
        self._become("online")
        self._online.set()
        self._flush_soon()
        self._marks.user = frame.user
        self._catching_up.begin()
        self._marks.begin(self._timelines.cursors(), self._clock())
        self._watch_list.begin(self._clock())
        self._ask()
        self._history.begin()

    def _stop(self, error: MessengerError, code: int) -> None:
        self._stopped, self._socket = error, None
        for timer in (self._flushing, self._resend, self._asking):
            if timer is not None:
                timer.cancel()
        for result in self._results.values():
            if not result.done():
                result.set_exception(error)
                result.exception()  # whoever waits for it gets it; a send nobody waits for is no fault to complain of
        self._history.stop(error)
        self._results.clear()
        self._sending.clear()
        self._become("stopped", code)
        self._online.set()

    def _become(self, state: str, code: int = 0) -> None:
        self.state = state
        self._emit(StateChanged(state, code))

    def _emit(self, event: Event) -> None:
        if self._events.qsize() >= MAX_EVENTS:
            self._events.get_nowait()
            self.dropped_events += 1
        self._events.put_nowait(event)

    # Sending

    def _flush_soon(self) -> None:
        if self._flushing is None and self._socket is not None:
            self._flushing = self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        """Everything that was queued in this loop turn goes out in one WebSocket message (or a few, if it is much)."""
        self._flushing = None
        socket = self._socket
        if socket is None or socket.closed:
            return
        sends = [encode_frame(send) for send in self._outbox.transmit(self._clock())]
        sends += [encode_frame(receipt) for receipt in self._marks.receipts()]
        try:
            self._save()
        except MessengerError as error:
            self._fail(error)
            return
        size, start = 0, 0
        for index, send in enumerate(sends):
            if size + len(send) > frames.MAX_SOCKET_MESSAGE_BYTES // 2 and index > start:
                self._write(socket, sends[start:index])
                size, start = 0, index
            size += len(send) + 1
        if sends:
            self._write(socket, sends[start:])
        self._plan_resend()

    def _save(self) -> None:
        """Before anything leaves the device that rests on it."""
        if self._file is not None and self._changes:
            self._file.save(self._changes)
            self._changes.clear()

    def _fail(self, error: MessengerError) -> None:
        """The outbox can no longer be kept: going on could number another message like one that has left the device."""
        if self._run_task is not None:
            self._run_task.cancel()
        self._stop(error, 0)

    def _write(self, socket: aiohttp.ClientWebSocketResponse, encoded: list[bytes]) -> None:
        async def write() -> None:
            try:
                await socket.send_str(join_frames(encoded).decode())
            except (ConnectionError, aiohttp.ClientError) as error:
                log.debug("write: %s", error)  # the reader sees the end of the connection; the outbox sends again

        self._spawn(write())

    def _plan_resend(self) -> None:
        at = self._outbox.resend_at()
        if self._resend is not None:
            self._resend.cancel()
            self._resend = None
        if at is not None:
            self._resend = self._loop.call_later(max(0.0, at - self._clock()) + 0.001, self._flush)

    # Receiving

    def _take(self, frame: frames.ServerFrame) -> None:
        if type(frame) is frames.Message:
            if frame.sender == self.user:
                self._own(frame)
            self._show(frame)
        elif type(frame) is frames.Sent:
            send = self._sending.get(frame.key)
            self._finish(self._outbox.sent(self._other(frame.conversation), frame, self._clock()))
            if send is not None:
                self._show(frames.Message(frame.conversation, frame.seq, self.user, frame.key, frame.time, send.body))
            else:  # of an earlier life of this device, to which the message itself is not pushed
                self._timelines.heads({frame.conversation: frame.seq})
                self._ask()
        elif type(frame) is frames.Refused:
            self._finish(self._outbox.refused(self._other(frame.conversation), frame, self._clock()))
        elif type(frame) is frames.OutOfStep:
            self._finish(self._outbox.out_of_step(self._other(frame.conversation), frame, self._clock()))
            self._flush_soon()
        elif type(frame) is frames.Page:
            self._page(frame)
        elif type(frame) is frames.Heads:
            self._heads(frame)
        elif type(frame) is frames.Resync:
            self._catching_up.sync()
            self._marks.begin(self._timelines.cursors(), self._clock())
            self._watch_list.begin(self._clock())
            self._ask()
        elif type(frame) is frames.Presence:
            if self._watch_list.take(frame):
                self._emit(PresenceChanged(frame.user, frame.online, frame.last_seen))
        elif type(frame) is frames.Presences:
            for presence in self._watch_list.answer(frame, self._clock()):
                self._emit(PresenceChanged(presence.user, presence.online, presence.last_seen))
            self._ask()
        elif type(frame) is frames.UserTyping:
            self._emit(Typing(frame.conversation, frame.user))
        elif type(frame) is frames.Mark:
            if self._marks.take(frame):
                self._emit(self._shown_mark(frame))
        elif type(frame) is frames.Marks:
            for mark in self._marks.answer(frame, self._clock()):
                self._emit(self._shown_mark(mark))
            self._flush_soon()
            self._ask()
        elif type(frame) is frames.Error:
            self._error(frame)

    def _show(self, message: frames.Message) -> None:
        self._emit_shown(self._timelines.take(message))
        self._ask()

    def _emit_shown(self, shown: list[Shown]) -> None:
        for message, missing in shown:
            self._marks.shown(message)
            self._emit(received(message, missing))
        if shown:
            self._flush_soon()

    def _heads(self, heads: frames.Heads) -> None:
        before = self._timelines.begun
        self._catching_up.heads(heads, self._clock())
        self._marks.found(heads.heads, self._clock())
        if self._timelines.begun and not before and self._shown is not None:
            self._shown.begin(self._log_id, self._timelines.floors())
        self._ask()

    def _page(self, page: frames.Page) -> None:
        for message in page.messages:
            if message.sender == self.user:
                self._own(message)
        if self._history.answer(page):
            return
        self._emit_shown(self._catching_up.page(page, self._clock()))
        self._ask()

    def _error(self, error: frames.Error) -> None:
        if self._marks.error(error, self._clock()) or self._watch_list.error(error, self._clock()):
            self._ask()
            return
        if self._history.error(error):
            return
        shown = self._catching_up.error(error, self._clock())
        if shown is None:
            self._finish(self._outbox.error(error, self._clock()))
            self._plan_resend()
        else:
            self._emit_shown(shown)
            self._ask()

    def _ask(self) -> None:
        """Ask for what is missing, now and when it is time again."""
        if self._socket is None:
            return
        if self._asking is not None:
            self._asking.cancel()
            self._asking = None
        now = self._clock()
        others = [question for question in (self._marks.question(now), self._watch_list.question(now)) if question is not None]
        self._put([*self._catching_up.questions(now), *others])
        wake = (self._catching_up.wake_at(), self._marks.wake_at(), self._watch_list.wake_at())
        at = min((at for at in wake if at is not None), default=None)
        if at is not None:
            self._asking = self._loop.call_later(max(0.0, at - self._clock()) + 0.001, self._ask)

    def _put(self, questions: Sequence[frames.Question]) -> None:
        if questions and self._socket is not None:
            self._write(self._socket, [encode_frame(question) for question in questions])

    def _shown_mark(self, mark: frames.Mark) -> MarksChanged:
        """A claim of devices is shown as far as there are messages."""
        head = max(self._timelines.head(mark.conversation), 0)
        received, read = min(mark.received, head), min(mark.read, head)
        return MarksChanged(mark.conversation, mark.user, received, mark.received_at, read, mark.read_at)

    def _own(self, message: frames.Message) -> None:
        """One's own message is an answer, too."""
        sent = SentMessage(message.conversation, message.seq, message.time)
        self._finish(self._outbox.own_message(self._other(message.conversation), message.key, sent, self._clock()))

    def _finish(self, done: list[Done]) -> None:
        for key, outcome in done:
            send = self._sending.pop(key, None)
            if isinstance(outcome, SendUnknown) and send is not None:
                self._spawn(self._look_up(send, outcome))
            else:
                self._finished(key, send, outcome)
        if done:
            self._flush_soon()

    async def _look_up(self, send: SavedSend, unknown: SendUnknown) -> None:
        """One's own messages carry their keys: the history knows what became of a send."""
        conversation = conversation_of(UserId(self.user), user_id(send.to))
        outcome: SentMessage | MessengerError = unknown
        before: int | None = None
        try:
            for _ in range(_LOOK_UP_PAGES):
                page = await self.history(conversation, before=before, limit=frames.MAX_PAGE_MESSAGES)
                found = next((m for m in page.messages if m.key == send.key and m.sender == self.user), None)
                if found is not None:
                    outcome = SentMessage(conversation, found.seq, found.time)
                if found is not None or page.first or not page.messages:
                    break
                before = page.messages[0].seq
        except MessengerError as error:
            log.debug("looking up %s: %s", send.key, error)
        self._finished(send.key, send, outcome)

    def _finished(self, key: str, send: SavedSend | None, outcome: SentMessage | MessengerError) -> None:
        result = self._results.pop(key, None)
        if result is None:
            if send is not None and not isinstance(outcome, SentMessage):
                self._emit(SendFailed(key, send.to, send.body, outcome))
        elif result.done():
            pass
        elif isinstance(outcome, SentMessage):
            result.set_result(outcome)
        else:
            result.set_exception(outcome)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    def _other(self, conversation: str) -> str:
        first, second = members_of_valid(conversation)
        return second if first == self.user else first
