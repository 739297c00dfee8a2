"""The client: one device, connected as long as it is open, sending and showing in order.

connecting ─→ online ─→ waiting ─→ connecting …        stopped: closed here, or the server does not
want the device back
"""

import asyncio
import contextlib
import logging
import random
import uuid
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Self

from messenger_sdk.aiohttp_dialer import AiohttpDialer
from messenger_sdk.connection import Connection
from messenger_sdk.device import Device, Happenings
from messenger_sdk.dialer import Dialer
from messenger_sdk.errors import ClientClosed, MessengerError, SendRefused
from messenger_sdk.event_queue import EventQueue
from messenger_sdk.events import (
    DecisionEnded,
    Event,
    HistoryEnded,
    HistoryPage,
    MessageReceived,
    PrivacyChanged,
    SendFailed,
    StateChanged,
    TokenExpires,
)
from messenger_sdk.folder_storage import FolderStorage
from messenger_sdk.outbox import SendEnded, SentMessage
from messenger_sdk.people import Kind
from messenger_sdk.reconnecting import Gateways, Reconnecting
from messenger_sdk.storage import MemoryStorage, Storage
from schemas import frames
from schemas.codec import EVERYBODY
from schemas.codes import Code

log = logging.getLogger(__name__)

Token = str | Callable[[], Awaitable[str]]


class Client:
    """One device of a user. Use it as `async with`, and take its events: `async for event in
    client`. Messages come no faster than they are taken, and none is dropped.

    `url` is a gateway's, http(s)://host:port; of several, each attempt takes the next; `Gateways`
    names hosts, too, to which these may send the device. `token` is a login token, or a coroutine
    function that gives a fresh one: for each attempt, and before one expires. `storage` keeps
    sends and what was shown over restarts; `folder` means a FolderStorage there; without either,
    the next start begins anew. `dialer` is the network. `jitter` from [0, 1), `new_id` makes 32
    random hex digits. Raises FolderInUse, FolderUnreadable.
    """

    def __init__(
        self,
        url: str | Sequence[str] | Gateways,
        token: Token,
        device: str,
        *,
        folder: Path | None = None,
        storage: Storage | None = None,
        dialer: Dialer | None = None,
        jitter: Callable[[], float] = random.random,
        new_id: Callable[[], str] = lambda: uuid.uuid4().hex,
    ) -> None:
        self.state = "connecting"
        self._loop = asyncio.get_running_loop()
        self._token = token
        self._name = device
        self._storage = FolderStorage(folder) if folder else storage or MemoryStorage()
        self.device = Device(self._storage.load(), jitter, new_id)
        """What this device knows; to look at, not to change."""
        self._connection = Connection(
            self.device,
            self._storage,
            dialer or AiohttpDialer(),
            Reconnecting(_gateways(url), jitter, callable(token)),
            self._hello,
            self._happened,
        )
        self._events = EventQueue()
        self._taken: Event | None = None
        """The event that the application has now."""
        self._results: dict[object, asyncio.Future[Any]] = {}
        """By the key of a send, the id of a question after history, or a decision."""
        self._news = asyncio.Event()
        """Set for a moment whenever something may have changed."""
        self._stopped: MessengerError | None = None
        self._run_task: asyncio.Task[None] | None = None
        self._renewing: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._run_task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Disconnect for good. Whoever waits for anything gets ClientClosed; the events end.
        Unanswered sends stay in the storage."""
        tasks = [task for task in (self._run_task, self._renewing) if task is not None]
        self._run_task = self._renewing = None
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._stopped is None:
            self._stop(ClientClosed("the client was closed"))
        with contextlib.suppress(MessengerError):  # the server repeats an answer that is not saved
            await self._storage.save(self.device.changes())
        self._storage.close()

    @property
    def user(self) -> str:
        """Empty before the first welcome of a new device."""
        return self.device.user

    async def online(self) -> None:
        """Wait until the session stands. Raises ConnectionRefused if the server does not want this
        device, ClientClosed, or what the storage raised."""
        await self._until(lambda: self.state == "online")

    async def caught_up(self) -> None:
        """Wait until every message that the server has named is among the events, taken or not.
        Somebody has to take them meanwhile. Raises as `online`."""
        await self._until(lambda: self.device.caught_up)

    def submit(self, to: str, body: str) -> "asyncio.Future[SentMessage]":
        """Queue a message, in order; the future ends when it is sent.

        Raises OutboxFull, InvalidId, SendRefused for a body that can never be taken, and what the
        client was stopped with. The future raises SendRefused, SendUnknown, or what the client was
        stopped with.
        """
        return self._submit(lambda: self.device.submit(to, body))

    async def send(self, to: str, body: str) -> SentMessage:
        """Send a message and wait until it has its number, however long the network is away. Raises
        as `submit`."""
        return await self.submit(to, body)

    def edit(self, to: str, seq: int, body: str) -> "asyncio.Future[SentMessage]":
        """Give message `seq`, which this user has sent to `to`, a new text on all devices of both.
        The future ends when the change has its number, which is one of its own. It raises
        SendRefused (150 to 153: not yours, too old, unknown, deleted); otherwise as `submit`."""
        if not body:
            raise SendRefused(Code.BODY_EMPTY.number)
        return self._submit(lambda: self.device.change(to, seq, body))

    def delete(self, to: str, seq: int) -> "asyncio.Future[SentMessage]":
        """Take message `seq` away on all devices of both, for good. Otherwise as `edit`."""
        return self._submit(lambda: self.device.change(to, seq, ""))

    async def saved(self) -> None:
        """Wait until all that was submitted would outlive a power cut. It does not need the
        network. Raises as `online`."""
        if self._stopped is not None:
            raise self._stopped
        await self._connection.saved()

    async def history(
        self,
        conversation: str,
        *,
        before: int | None = None,
        after: int | None = None,
        limit: int = 50,
    ) -> HistoryPage:
        """Messages from any time: the newest below `before`, or the oldest above `after`; of
        neither, the newest. `limit` 1-100; a page may hold fewer messages if they are large. Waits
        until the server can answer. Raises HistoryRefused, and as `online`."""
        if self._stopped is not None:
            raise self._stopped
        id_ = self.device.history(conversation, before, after, limit)
        result = self._results[id_] = self._loop.create_future()
        self._connection.wake()
        try:
            page: HistoryPage = await result
            return page
        finally:
            self._results.pop(id_, None)
            self.device.cancel_history(id_)

    def read(self, conversation: str, seq: int) -> None:
        """The person has read all up to `seq`. The other user, and this user's other devices, get
        to know, if need be after the next start. Raises FolderUnreadable."""
        self.device.read(conversation, seq)
        self._note()

    def watch(self, users: Iterable[str]) -> None:
        """From now on PresenceChanged and Typing tell of these users, and of no others: at most 200
        with whom there is a conversation."""
        self.device.watch(users, self._loop.time())
        self._connection.wake()

    async def block(self, user: str) -> None:
        """From now on `user` cannot write to this one, and sees neither presence nor that this user
        types or has read. Waits until that counts, however long the network is away. Raises
        DecisionRefused, and as `online`."""
        await self._decide("blocked", user, True)

    async def unblock(self, user: str) -> None:
        """It is as before the `block`. Waits and raises as it does."""
        await self._decide("blocked", user, False)

    async def blocked(self) -> frozenset[str]:
        """Whom this user has blocked, on any device. From now on PersonChanged and PrivacyChanged
        tell what changes. Raises as `online`."""
        await self._people()
        return self.device.blocked

    async def add_contact(self, user: str) -> None:
        """`user` is a contact from now on. Waits and raises as `block` does."""
        await self._decide("contact", user, True)

    async def remove_contact(self, user: str) -> None:
        """`user` is no contact any more. Likewise."""
        await self._decide("contact", user, False)

    async def contacts(self) -> frozenset[str]:
        """This user's contacts, as `blocked` gives whom they have blocked."""
        await self._people()
        return self.device.contacts

    async def accept(self, user: str) -> None:
        """`user`, who has sent a request, may write from now on: they are a contact. Waits and
        raises as `block` does."""
        await self.add_contact(user)

    async def decline(self, user: str) -> None:
        """The request of `user` is not accepted: they may send nothing more, and are not told.
        Likewise."""
        await self._decide("declined", user, True)

    async def requests(self) -> frozenset[str]:
        """Whose requests wait, as `blocked` gives whom this user has blocked."""
        await self._people()
        return self.device.requests

    async def set_privacy(self, presence: frames.Shown = "everyone", reads: bool = True) -> None:
        """Show to others whether this user is there, was seen last and types (`presence`), and what
        they have read (`reads`). Waits and raises as `block` does."""
        if self._stopped is not None:
            raise self._stopped
        self.device.set_privacy(presence, reads, self._loop.time())
        await self._decision(("privacy", EVERYBODY))

    async def privacy(self) -> PrivacyChanged:
        """What this user shows to others, as `blocked` gives whom they have blocked."""
        await self._people()
        return self.device.privacy

    async def _people(self) -> None:
        self.device.follow_people(self._loop.time())
        self._connection.wake()
        await self._until(lambda: self.device.knows_people)

    async def _decide(self, kind: Kind, user: str, is_: bool) -> None:
        if self._stopped is not None:
            raise self._stopped
        self.device.decide(kind, user, is_, self._loop.time())
        await self._decision((kind, user))

    async def _decision(self, about: tuple[str, str]) -> None:
        """Wait until the latest decision of this kind about this user counts."""
        result = self._results.get(about)
        if result is None:
            result = self._results[about] = self._loop.create_future()
        self._connection.wake()
        await asyncio.shield(result)

    def typing(self, conversation: str) -> None:
        """The person is writing; call it at each keystroke. The other user gets to know every few
        seconds, and only while this device is online."""
        self.device.typing(conversation, self._loop.time())
        self._connection.wake()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        """The next event. To ask for it says that the one before was seen: a message then counts as
        shown, and is not given again after a restart. Ends when the client has stopped and the
        last event was taken; those taken after the stop count as not shown. Raises
        FolderUnreadable."""
        taken, self._taken = self._taken, None
        if isinstance(taken, MessageReceived) and self._stopped is None:
            self.device.shown(taken)
            self._note()
        while not self._events:
            if self._stopped is not None:
                raise StopAsyncIteration
            await self._news.wait()
        self._taken = self._events.pop()
        return self._taken

    def _submit(self, queue: Callable[[], str]) -> "asyncio.Future[SentMessage]":
        """`queue` queues a send, and returns its key."""
        if self._stopped is not None:
            raise self._stopped
        result: asyncio.Future[SentMessage] = self._loop.create_future()
        self._results[queue()] = result
        self._connection.wake()
        return result

    async def _run(self) -> None:
        try:
            await self._connection.run()
        except MessengerError as error:
            self._stop(error)
        except Exception as error:
            log.exception("the client failed")
            self._stop(MessengerError(f"a fault of the client: {error!r}"))

    async def _hello(self, stay: bool) -> frames.Hello:
        token = await self._fresh_token()
        return frames.Hello(1, frames.CURRENT_VERSION, token, self._name, stay)

    async def _fresh_token(self) -> str:
        """Raises ConnectionError."""
        token = self._token
        if isinstance(token, str):
            return token
        try:
            return await token()
        except Exception as error:
            log.warning("there is no token: %r", error)
            raise ConnectionError("there is no token") from error

    async def _renew(self) -> None:
        """Without a fresh token the server ends the session, and the next one asks again."""
        with contextlib.suppress(ConnectionError):
            self.device.renew(await self._fresh_token())
            self._connection.wake()

    def _happened(self, happenings: Happenings) -> None:
        for happening in happenings:
            if isinstance(happening, SendEnded):
                self._send_ended(happening)
            elif isinstance(happening, HistoryEnded):
                self._resolve(happening.id, happening.result)
            elif isinstance(happening, DecisionEnded):
                self._resolve(happening.about, happening.result)
            elif isinstance(happening, TokenExpires):
                if not isinstance(self._token, str):
                    self._renewing = asyncio.create_task(self._renew())
            else:
                if isinstance(happening, StateChanged):
                    self.state = happening.state
                self._events.put(happening)
        self._notify()

    def _send_ended(self, ended: SendEnded) -> None:
        waited_for = self._resolve(ended.key, ended.result)
        if not waited_for and isinstance(ended.result, MessengerError):
            self._events.put(SendFailed(ended.key, ended.to, ended.body, ended.result))

    def _resolve(self, name: object, result: object) -> bool:
        """Whether somebody of this process has asked for it."""
        future = self._results.pop(name, None)
        if future is None or future.done():
            return future is not None
        if isinstance(result, MessengerError):
            future.set_exception(result)
            future.exception()  # a send that nobody waits for is no fault to complain of
        else:
            future.set_result(result)
        return True

    def _note(self) -> None:
        """Write down what the device has noted, before anything of it leaves."""
        try:
            self._storage.note(self.device.notes())
        except MessengerError as error:
            if self._run_task is not None:
                self._run_task.cancel()
            self._stop(error)
            raise
        self._connection.wake()
        self._notify()

    def _stop(self, error: MessengerError) -> None:
        self._stopped = error
        self._connection.stop(error)
        for name in list(self._results):
            self._resolve(name, error)
        self._happened([StateChanged("stopped", getattr(error, "code", 0))])

    async def _until(self, holds: Callable[[], bool]) -> None:
        while True:
            if self._stopped is not None:
                raise self._stopped
            if holds():
                return
            await self._news.wait()

    def _notify(self) -> None:
        self._news.set()
        self._news.clear()


def _gateways(url: str | Sequence[str] | Gateways) -> Gateways:
    if isinstance(url, Gateways):
        return url
    return Gateways([url] if isinstance(url, str) else url)
