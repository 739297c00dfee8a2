"""People and their apps: real SDK clients, each in a process of its own.

A phone keeps what its SDK stores when it dies; a browser tab's memory dies with it.
"""

import asyncio
import contextlib
import random
from collections.abc import Coroutine, Sequence
from typing import TYPE_CHECKING, Any, Literal

from gateway.edge.tokens import issue
from messenger_sdk import (
    Client,
    MarksChanged,
    MemoryStorage,
    MessageReceived,
    MessengerError,
    SendFailed,
    SendRefused,
    SentMessage,
    StateChanged,
)
from messenger_sdk.storage import Change
from schemas.codec import EVERYBODY
from schemas.codes import Code
from schemas.frames import Shown as PresenceShown
from schemas.ids import members_of_valid, user_id
from simulation.judge import Decision, Submitted
from simulation.network import DeviceDialer
from simulation.process import Process
from simulation.shown import Shown, show, shown_of
from simulation.stances import asks, takes_nothing

if TYPE_CHECKING:
    from simulation.world import World

_LOOK_SECONDS = 0.2
"""The longest that a person looks at a message before the next."""
_SAVE_SECONDS = 0.01
_OPENED = 5
"""Messages in the page with which a conversation opens."""


class FlashStorage(MemoryStorage):
    """Storage of a phone: it outlives the app, and saving takes a moment."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__()
        self._chance = chance

    async def save(self, changes: Sequence[Change]) -> None:
        await asyncio.sleep(self._chance.uniform(0.0, _SAVE_SECONDS))
        await super().save(changes)


class App:
    """One app of a user. `keeps`: it keeps its storage when it ends."""

    def __init__(self, world: "World", user: str, name: str, keeps: bool) -> None:
        self.user = user
        self.name = name
        self.label = f"{user}/{name}"
        self.keeps = keeps
        self.running = False
        self.shown: dict[str, list[Shown]] = {}
        self.history: dict[str, int] = {}
        """conversation → the last seq that was there before the app was first opened."""
        self.claims: dict[tuple[str, bool], int] = {}
        """(conversation, read) → the highest seq that this app has reported, or will report."""
        self.opening = 0
        """Conversations that it opens and does not show yet."""
        self.opened: dict[str, tuple[int, list[Shown]]] = {}
        """conversation → the last seq there is and the messages that were shown, when it was opened
        the last time."""
        self.client: Client | None = None
        self.process: Process
        self.dialer: DeviceDialer
        self._world = world
        self._chance = world.source(self.label)
        self._storage = FlashStorage(self._chance)
        self._begun = False
        self._floors_known = False
        self._marks: dict[tuple[str, str], tuple[int, int]] = {}

    # Life

    def start(self) -> None:
        """Open the app."""
        if self.running:
            return
        if self.client is not None:
            self.process.kill()  # it may be closing still
        if not self.keeps:
            self._storage = FlashStorage(self._chance)
        self.running = True
        self._floors_known = False
        self._marks.clear()
        self.process = Process(self.label, self._world.loop)
        self.dialer = DeviceDialer(self._world.network, self.process)
        self.process.start(self._run())

    def close(self) -> None:
        """The person closes it."""
        if self.running and self.client is not None:
            self._note_floors()
            self.running = False
            self.process.start(self._close(self.client, self.process))

    def kill(self) -> None:
        """The system ends it, without a word."""
        if self.running:
            self._note_floors()
            self.running = False
            self.process.kill()

    async def _close(self, client: Client, process: Process) -> None:
        await client.close()
        process.kill()

    async def _run(self) -> None:
        urls = self._world.gateway_urls()
        self._chance.shuffle(urls)
        client = Client(
            urls,
            self._token,
            self.name,
            storage=self._storage,
            dialer=self.dialer,
            jitter=self._chance.random,
            new_id=lambda: f"{self._chance.getrandbits(128):032x}",
        )
        self._begun = client.device.begun
        if not self._storage.load().log:  # nothing was kept
            self.shown, self.history, self.claims = {}, {}, {}
        self.client = client
        async with client:
            self.process.start(self._follow_people(client))
            async for event in client:
                if isinstance(event, MessageReceived):
                    await asyncio.sleep(self._chance.uniform(0.0, _LOOK_SECONDS) ** 2)
                    if not self.running:
                        return  # what is seen after the client has stopped counts as not shown
                    self._show(event)
                elif isinstance(event, SendFailed):
                    self._failed(event.to, event.body, event.error)
                elif isinstance(event, MarksChanged):
                    self._see_marks(event)
                elif isinstance(event, StateChanged) and event.state == "online":
                    self.watch()

    async def _token(self) -> str:
        return issue(user_id(self.user), self._world.secret, self._world.now() / 1000, 86400.0)

    # What the person does

    @property
    def online(self) -> bool:
        return self.running and self.client is not None and self.client.state == "online"

    def send(self, to: str, body: str) -> None:
        client = self.client
        if not self.running or client is None:
            return
        try:
            result = self.process.call(client.submit, to, body)
        except MessengerError:
            return
        submitted = Submitted(self.label, self.user, to, body)
        self._world.judge.submitted.append(submitted)
        self.process.start(self._follow(result, submitted))

    def change(self, seq: int, body: str) -> None:
        """The person edits one of the own messages that are shown, or deletes it with no `body`:
        the one that is `seq` places from the end."""
        client = self.client
        mine = [
            (conversation, one.seq)
            for conversation, shown in self.shown.items()
            for one in shown
            if one.sender == self.user and not one.changes and one.body
        ]
        if not self.running or client is None or not mine:
            return
        conversation, number = mine[-1 - seq % len(mine)]
        first, second = members_of_valid(conversation)
        to = second if first == self.user else first
        try:
            if body:
                result = self.process.call(client.edit, to, number, body)
            else:
                result = self.process.call(client.delete, to, number)
        except MessengerError:
            return
        submitted = Submitted(self.label, self.user, to, body)
        if body:
            self._world.judge.submitted.append(submitted)
        self.process.start(self._follow_change(result, submitted))

    async def _follow_change(
        self, result: "asyncio.Future[SentMessage]", submitted: Submitted
    ) -> None:
        try:
            submitted.sent = await result
        except MessengerError as error:
            if self.running:
                self._failed(submitted.to, submitted.body, error)

    async def _follow(self, result: "asyncio.Future[SentMessage]", submitted: Submitted) -> None:
        client = self.client
        try:
            if client is not None:
                await client.saved()
                submitted.saved = self.keeps
            submitted.sent = await result
        except MessengerError as error:
            if self.running:
                self._failed(submitted.to, submitted.body, error)

    def _failed(self, to: str, body: str, error: MessengerError) -> None:
        code = error.code if isinstance(error, SendRefused) else 0
        if code == Code.CHANGE_OF_DELETED.number:
            return
        refused = body and code in (Code.BLOCKED.number, Code.NOT_ACCEPTED.number)
        if not refused or not self._world.judge.may_be_refused(to, self.user):
            self._world.judge.found(f"{self.label} cannot send {body!r}: {error!r}")

    async def _follow_people(self, client: Client) -> None:
        with contextlib.suppress(MessengerError):
            await client.blocked()

    def decide(self, user: str, kind: Literal["blocked", "contact"], is_: bool) -> None:
        """The person blocks a user, or has them as a contact, or does so no more."""
        if self.running and self.client is not None:
            decision = self._world.judge.decides(self.user, user, kind, is_)
            self.process.start(self._decide(self.client, decision))

    async def _decide(self, client: Client, decision: Decision) -> None:
        _, other, kind, is_, _ = decision
        blocks, adds = (client.unblock, client.block), (client.remove_contact, client.add_contact)
        try:
            await (blocks if kind == "blocked" else adds)[is_](other)
        except MessengerError:
            return
        # of two decisions about one user the later counts
        device = client.device
        if (other in (device.blocked if kind == "blocked" else device.contacts)) == is_:
            self._world.judge.decided(self.label, decision)

    def decline(self, number: int) -> str:
        """The person declines one of the requests. Whose."""
        client = self.client
        if not self.running or client is None or not client.device.requests:
            return "nobody"
        waiting = sorted(client.device.requests)
        user = waiting[number % len(waiting)]
        self.process.start(_done(client.decline(user)))
        return user

    def set_privacy(self, presence: PresenceShown, reads: bool) -> None:
        """The person shows this to others."""
        if self.running and self.client is not None:
            if not reads:
                self._world.judge.begins_to_hide(self.user)
            self.process.start(_done(self.client.set_privacy(presence, reads)))

    def read(self) -> None:
        """The person reads all that is shown."""
        if not self.running or self.client is None:
            return
        for conversation, shown in self.shown.items():
            if shown:
                self.process.call(self.client.read, conversation, shown[-1].seq)
                self._claim(conversation, shown[-1].seq, read=True)

    def open(self, conversation: str) -> None:
        """The person opens a conversation at its end, and scrolls back once."""
        if self.running and self.client is not None:
            self.process.start(self._open(conversation, self.client))

    async def _open(self, conversation: str, client: Client) -> None:
        self.opening += 1
        try:
            newest = await client.history(conversation, limit=_OPENED)
            before = newest.messages[0].seq if newest.messages else 1
            older = await client.history(conversation, before=before, limit=_OPENED)
        except MessengerError:
            return
        finally:
            self.opening -= 1
        shown = [*older.messages, *newest.messages]
        self.opened[conversation] = (
            newest.known,
            [_shown(message) for message in shown],
        )

    def type(self, to: str) -> None:
        """The person is writing."""
        if self.running and self.client is not None:
            conversation = ":".join(sorted((self.user, to)))
            self.process.call(self.client.typing, conversation)

    def watch(self) -> None:
        """Watch the presence of every user with whom this user has a conversation."""
        client = self.client
        if not self.running or client is None:
            return
        self._note_floors()
        known = client.device
        names = sorted(
            user for name in known.cursors() for user in members_of_valid(name) if user != self.user
        )
        if names != known.watched:
            self.process.call(client.watch, names)

    def _note_floors(self) -> None:
        """Note, once, where each conversation stood when this app was first opened. The client
        knows it after its first `heads`."""
        if self.client is None or self._floors_known or not self.client.device.begun:
            return
        self._floors_known = True
        if not self._begun:
            for conversation, floor in self.client.device.floors().items():
                self.history[conversation] = max(floor, self.history.get(conversation, 0))

    def lose_network(self) -> None:
        """Its connection vanishes without a word."""
        for wire in list(self._world.network.wires):
            if wire.device is self.process:
                wire.cut()

    def reset(self) -> None:
        """Its connection is reset."""
        for wire in list(self._world.network.wires):
            if wire.device is self.process:
                wire.break_()

    # What it shows

    def _show(self, event: MessageReceived) -> None:
        shown = self.shown.setdefault(event.conversation, [])
        floor = self.history.get(event.conversation)
        before = shown[-1].seq if shown else event.seq - 1
        if event.seq != before + 1 or event.missing:
            self._world.judge.found(
                f"{self.label} shows {event.conversation} {event.seq} after {before}; the SDK "
                f"says that {event.missing} are missing between"
            )
        if not shown and floor is None and self.client and not self.client.device.begun:
            self.history[event.conversation] = before
        self._world.loop.tell(f"shows {event.conversation} {event.seq}")
        show(shown, _shown(event))
        self._claim(event.conversation, event.seq, read=event.sender == self.user)
        self.watch()

    def _see_marks(self, event: MarksChanged) -> None:
        place = event.conversation, event.user
        received, read = self._marks.get(place, (0, 0))
        if event.received < received or event.read < read:
            self._world.judge.found(
                f"{self.label}: the marks of {event.user} in {event.conversation} go back from "
                f"received {received}, read {read} to received {event.received}, read {event.read}"
            )
        self._marks[place] = event.received, event.read

    def _claim(self, conversation: str, seq: int, read: bool) -> None:
        for kind in (False, True) if read else (False,):
            self.claims[conversation, kind] = max(seq, self.claims.get((conversation, kind), 0))


async def _done(decision: Coroutine[Any, Any, None]) -> None:
    with contextlib.suppress(MessengerError):
        await decision


def _shown(event: MessageReceived) -> Shown:
    return shown_of(event.seq, event.sender, event.key, event.body, event.changes, event.version)


class People:
    """`users` with their apps: each a phone and a tab."""

    def __init__(self, world: "World", users: Sequence[str]) -> None:
        self.users = list(users)
        self.apps: list[App] = []
        self._world = world
        self._sent = 0

    def come(self) -> None:
        for user in self.users:
            self.install(user, "phone", keeps=True)
            self.install(user, "tab", keeps=False)

    def install(self, user: str, name: str, keeps: bool) -> App:
        app = App(self._world, user, name, keeps)
        self.apps.append(app)
        app.start()
        return app

    def all_come_back(self) -> None:
        """Whoever was away, and to each user a new app."""
        for app in self.apps:
            app.start()
        for user in self.users:
            self.install(user, "last", keeps=False)

    def knock(self) -> None:
        """Whoever is, or was, blocked or a contact, or has asked, writes to who has decided that;
        unless that would accept a request."""
        stances = self._world.judge.stances()
        for user, other in stances:
            if other == EVERYBODY or asks(stances, other, user):
                continue
            app = next(app for app in self.here if app.user == other)
            body = self.new_body()
            self._world.judge.knocks[body] = takes_nothing(stances, user, other)
            app.send(user, body)

    def open_all(self) -> None:
        """Whoever is here opens all their conversations."""
        for app in self.here:
            for user in self.users:
                if user != app.user:
                    app.open(":".join(sorted((app.user, user))))

    def new_body(self) -> str:
        self._sent += 1
        return f"message {self._sent}"

    @property
    def here(self) -> list[App]:
        return [app for app in self.apps if app.running]

    def online(self) -> dict[str, bool]:
        return {
            user: any(app.online for app in self.here if app.user == user)
            for user in (*self.users, *self._world.shape.away)
        }
