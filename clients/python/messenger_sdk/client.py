"""The client: one device, connected as long as it is open, sending and showing in order.

connecting ─→ online ─→ waiting ─→ connecting …        stopped: closed here, or told not to come
back
"""

import asyncio
import itertools
import logging
import random
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from messenger_sdk.connection import Connection
from messenger_sdk.deadline import Deadline
from messenger_sdk.errors import ClientClosed, ConnectionRefused, FolderUnreadable, MessengerError
from messenger_sdk.events import Event, HistoryPage, MarksChanged, MessageReceived, StateChanged
from messenger_sdk.history import History
from messenger_sdk.outbox import SavedSend, SentMessage
from messenger_sdk.receiving import Receiver
from messenger_sdk.sending import Sends
from schemas import frames
from schemas.codec import encode_frame

log = logging.getLogger(__name__)

MAX_EVENTS = 10_000
"""Events that nobody has taken; then the oldest are dropped and `dropped_events` counts them."""
_TYPING_SECONDS = 3.0


class Client:
    """One device of a user.

    `url` is the gateway's, http(s)://host:port; of several, each attempt takes the next. `folder`
    keeps unanswered sends and what was shown over restarts: sends go out, and what came meanwhile
    is shown. It is made if it does not exist, belongs to this user and device, and to one process
    at a time (else FolderInUse). Without it unanswered sends are lost with the process, and the
    next one begins anew. `clock` in seconds, `jitter` from [0, 1), `new_id` 32 random hex digits.
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
        self._loop = asyncio.get_running_loop()
        self._clock = clock or self._loop.time
        self._typing: dict[str, float] = {}
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self._online = asyncio.Event()
        self._stopped: MessengerError | None = None
        self._flushing: asyncio.Handle | None = None
        self._asking = Deadline(self._clock, self._ask)
        self._run_task: asyncio.Task[None] | None = None
        outbox = shown = None
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            outbox, shown = folder / "outbox.sqlite", folder / "shown.sqlite"
        ids = itertools.count(2)
        self._history = History(self._put, ids, jitter)
        self._sends = Sends(
            outbox, new_id, self._clock, self._history, self._flush_soon, self._emit
        )
        self._receiver = Receiver(
            shown,
            self._clock,
            jitter,
            ids,
            self._sends,
            self._history,
            self._emit,
            self._ask,
            self._flush_soon,
        )
        self._connection = Connection(
            url,
            token,
            device,
            self._clock,
            jitter,
            self._become,
            self._welcomed,
            self._receiver.take,
        )

    async def __aenter__(self) -> Self:
        self._run_task = asyncio.create_task(self._run())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Disconnect for good. What is unanswered, and whoever waits for `online`, gets
        ClientClosed; `events` ends. Unanswered sends stay in the outbox file, if there is one."""
        if self._run_task is not None:
            self._run_task.cancel()
            await asyncio.gather(self._run_task, return_exceptions=True)
        if self._stopped is None:
            self._stop(ClientClosed("the client was closed"))
        self._sends.close()
        self._receiver.close()

    def unanswered(self) -> list[SavedSend]:
        """Sends without an answer, those of before this start included, by recipient and in
        order."""
        return self._sends.unanswered()

    async def online(self) -> None:
        """Wait until the session stands. Raises ConnectionRefused if the server does not want this
        device, or ClientClosed."""
        await self._online.wait()
        if self._stopped is not None:
            raise self._stopped

    def submit(self, to: str, body: str) -> "asyncio.Future[SentMessage]":
        """Queue a message now, in order; the future ends when it is sent. With an outbox file it is
        safe when this returns.

        Raises OutboxFull, FolderUnreadable, InvalidId, ConnectionRefused, ClientClosed, and
        SendRefused for a body that can never be taken.

        The future raises SendRefused, SendUnknown, ConnectionRefused or ClientClosed.
        """
        if self._stopped is not None:
            raise self._stopped
        try:
            return self._sends.submit(to, body)
        except FolderUnreadable as error:
            self._fail(error)
            raise

    async def send(self, to: str, body: str) -> SentMessage:
        """Send a message and wait until it has its number, however long the network is away. Raises
        as `submit`."""
        return await self.submit(to, body)

    async def history(
        self,
        conversation: str,
        *,
        before: int | None = None,
        after: int | None = None,
        limit: int = 50,
    ) -> "HistoryPage":
        """Messages from any time: the newest below `before`, or the oldest above `after`; of
        neither, the newest. Waits until the server can answer. Raises HistoryRefused,
        ConnectionRefused, ClientClosed.

        `limit` 1-100; a page may hold fewer messages if they are large.
        """
        return await self._history.page(conversation, before, after, limit)

    def read(self, conversation: str, seq: int) -> None:
        """The person has read all up to `seq`: told to the other user, and to this user's other
        devices. With a folder it is told after the next start, if it was not by then. Raises
        FolderUnreadable."""
        try:
            self._receiver.read(conversation, seq)
        except MessengerError as error:
            self._fail(error)
            raise
        self._flush_soon()

    def mark(self, conversation: str, user: str) -> MarksChanged:
        """What a user has received and read of a conversation, as far as this device knows."""
        return self._receiver.mark(self._receiver.marks.mark(conversation, user))

    def watch(self, users: Iterable[str]) -> None:
        """Tell of the presence of these users, at most 200 with whom there is a conversation, and
        of no others: PresenceChanged and Typing are events from now on."""
        self._receiver.watch_list.set(users, self._clock())
        self._ask()

    def typing(self, conversation: str) -> None:
        """The person is writing; call it at each keystroke. Told on every few seconds, and only
        while online."""
        now = self._clock()
        if (
            self._connection.stands
            and now - self._typing.get(conversation, -_TYPING_SECONDS) >= _TYPING_SECONDS
        ):
            self._typing[conversation] = now
            self._connection.write([encode_frame(frames.Typing(conversation))])

    def unread(self, conversation: str) -> int:
        """How many messages of a conversation the person has not read. Who writes has read what is
        before it."""
        return max(
            0,
            self._receiver.timelines.head(conversation)
            - self._receiver.marks.read_up_to(conversation),
        )

    async def events(self) -> AsyncIterator[Event]:
        """What happens, in order, until the client stops. A message counts as shown when the next
        event is asked for.

        Raises FolderUnreadable if that cannot be kept.
        """
        while self._stopped is None or not self._events.empty():
            event = await self._events.get()
            yield event
            if isinstance(event, MessageReceived):
                try:
                    self._receiver.shown(event, theirs=event.sender != self.user)
                except MessengerError as error:
                    self._fail(error)
                    raise
            if isinstance(event, StateChanged) and event.state == "stopped":
                return

    async def _run(self) -> None:
        try:
            await self._connection.run()
        except MessengerError as error:
            self._stop(error)
        except Exception as error:
            log.exception("the client failed")
            self._stop(MessengerError(f"a fault of the client: {error!r}"))

    def _welcomed(self, welcome: frames.Welcome) -> None:
        self._sends.begin(welcome.user)
        self.user = welcome.user
        self._receiver.begin(welcome)
        self._history.begin()

    def _stop(self, error: MessengerError) -> None:
        self._stopped = error
        self._connection.cut()
        if self._flushing is not None:
            self._flushing.cancel()
        self._asking.set(None)
        self._sends.stop(error)
        self._history.stop(error)
        self._become("stopped", error.code if isinstance(error, ConnectionRefused) else 0)

    def _fail(self, error: MessengerError) -> None:
        """The folder can no longer be kept."""
        if self._run_task is not None:
            self._run_task.cancel()
        self._stop(error)

    def _become(self, state: str, code: int) -> None:
        self.state = state
        self._emit(StateChanged(state, code))
        if state in ("online", "stopped"):
            self._online.set()
        else:
            self._online.clear()

    def _emit(self, event: Event) -> None:
        if self._events.qsize() >= MAX_EVENTS:
            self._events.get_nowait()
            self.dropped_events += 1
        self._events.put_nowait(event)

    def _flush_soon(self) -> None:
        if self._flushing is None and self._connection.stands:
            self._flushing = self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        """Everything that was queued in this loop turn goes out in one WebSocket message (or a few,
        if it is much)."""
        self._flushing = None
        if not self._connection.stands:
            return
        try:
            sends = self._sends.transmit()
        except MessengerError as error:
            self._fail(error)
            return
        encoded = [encode_frame(frame) for frame in (*sends, *self._receiver.marks.receipts())]
        size, start = 0, 0
        for index, frame in enumerate(encoded):
            if size + len(frame) > frames.MAX_SOCKET_MESSAGE_BYTES // 2 and index > start:
                self._connection.write(encoded[start:index])
                size, start = 0, index
            size += len(frame) + 1
        if encoded:
            self._connection.write(encoded[start:])

    def _ask(self) -> None:
        """Ask for what is missing, now and when it is time again."""
        if self._connection.stands:
            self._put(self._receiver.questions())
            self._asking.set(self._receiver.wake_at())

    def _put(self, questions: Sequence[frames.Question]) -> None:
        if questions:
            self._connection.write([encode_frame(question) for question in questions])
