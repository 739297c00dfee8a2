"""People and their devices through a random history, for the model and for real services: what they
do, and then see."""

import asyncio
import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from messenger_sdk import Client, MessageReceived, SendFailed
from schemas.ids import members_of_valid
from tests.harness.in_step import Shown, Truth, View, differences

USERS = ("alice", "bob", "carol")
MAX_DEVICES = 10

PEOPLE = {
    "send": 12,
    "read": 4,
    "drop": 4,  # a connection is lost
    "end": 3,  # an app is closed, and its person away from it
    "open": 3,
    "install": 2,  # a new device
    "install again": 1,  # a device has lost its memory and keeps its name
}
ACCIDENTS = {"kill gateway": 2, "empty redis": 1, "older redis": 1, "kill worker": 3}


class Step(NamedTuple):
    """`place` chooses whom it concerns, `number` how."""

    kind: str
    place: int
    number: int


def history(chance: random.Random, kinds: dict[str, int], steps: int) -> list[Step]:
    """Kinds as often as they say."""
    chosen = chance.choices(list(kinds), list(kinds.values()), k=steps)
    return [Step(kind, chance.randrange(1000), chance.randrange(1000)) for kind in chosen]


class Device:
    """An app: it ends and starts again, with what its folder keeps if it has one. `make(user,
    device, folder)` a client."""

    def __init__(
        self,
        user: str,
        name: str,
        folder: Path | None,
        make: Callable[[str, str, Path | None], Client],
    ) -> None:
        self.user = user
        self.name = name
        self.folder = folder
        self.away = True
        self.client = make(user, name, folder)
        self.shown: dict[str, list[Shown]] = defaultdict(list)
        self.history: dict[str, int] = {}
        """conversation → what is up to it was there before the device began."""
        self.claims: dict[tuple[str, bool], int] = {}
        """(conversation, read) → what this device has said, or will say."""
        self.faults: list[str] = []
        self._make = make
        self._begun = False
        self._looking: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self.away = False
        self._begun = self.client.device.begun
        if not self._begun:  # nothing was kept
            for kept in (self.shown, self.history, self.claims):
                kept.clear()
        await self.client.__aenter__()
        self._looking = asyncio.create_task(self._look(self.client))
        self._looking.add_done_callback(self._ended)

    async def end(self) -> None:
        """The app is closed. It can be started again."""
        self.away = True
        if self._looking is not None:
            self._looking.cancel()
        await self.client.close()

    async def start_again(self) -> None:
        self.client = self._make(self.user, self.name, self.folder)
        await self.start()

    @property
    def online(self) -> bool:
        return self.client.state == "online"

    def send(self, to: str, body: str) -> None:
        self.client.submit(to, body).add_done_callback(self._ended)

    def read(self) -> None:
        """The person reads whatever is shown."""
        for conversation, shown in self.shown.items():
            if shown:
                self.client.read(conversation, shown[-1].seq)
                self._claim(conversation, shown[-1].seq, read=True)

    def look_around(self) -> None:
        """Notices what was there before it began, and watches whom there is a conversation with."""
        known = self.client.device
        if known.begun and not self._begun:
            self._begun = True
            for conversation, floor in known.floors().items():
                self.history[conversation] = max(floor, self.history.get(conversation, 0))
        names = sorted(
            user for name in known.cursors() for user in members_of_valid(name) if user != self.user
        )
        if names != self.client.device.watched:
            self.client.watch(names)

    def view(self) -> View:
        return View.of(self.client, f"{self.user}/{self.name}", self.shown, self.history)

    async def _look(self, client: Client) -> None:
        """The person looks at whatever comes."""
        async for event in client:
            if isinstance(event, MessageReceived):
                shown = self.shown[event.conversation]
                before = shown[-1].seq if shown else event.seq - 1
                assert (event.seq, event.missing) == (before + 1, 0), (
                    f"{event.seq} is shown after {before}"
                )
                if not client.device.begun:
                    self.history[event.conversation] = max(
                        self.history.get(event.conversation, 0), before
                    )
                shown.append(Shown(event.seq, event.sender, event.key, event.body))
                self._claim(event.conversation, event.seq, read=event.sender == self.user)
            elif isinstance(event, SendFailed):
                self.faults.append(str(event))

    def _claim(self, conversation: str, seq: int, read: bool) -> None:
        for kind in (False, True) if read else (False,):
            self.claims[conversation, kind] = max(seq, self.claims.get((conversation, kind), 0))

    def _ended(self, done: "asyncio.Future[Any]") -> None:
        if not done.cancelled() and done.exception() is not None and not self.away:
            self.faults.append(f"{self.user}/{self.name}: {done.exception()!r}")


class People:
    """`users` with their devices. A phone has a folder; what another app knew is gone when it ends.
    `lose` takes a client's connection from it."""

    def __init__(
        self,
        users: Sequence[str],
        folder: Path,
        make: Callable[[str, str, Path | None], Client],
        lose: Callable[[Client], None],
    ) -> None:
        self.devices: list[Device] = []
        self.users = users
        self._folder = folder
        self._make = make
        self._lose = lose
        self._sent = 0
        self._made = 0

    async def come(self) -> None:
        """Two devices each, but one has one."""
        for user in self.users:
            for name in ("phone", "tablet") if user != self.users[-1] else ("phone",):
                self.devices.append(await self._install(user, name))

    async def do(self, step: Step) -> None:
        """One of PEOPLE."""
        kind, place, number = step
        place %= len(self.devices)
        device = self.devices[place]
        if kind == "open" and device.away:
            await self._open(place)
        elif kind == "install" and len(self.devices) < MAX_DEVICES:
            self.devices.append(await self._install(device.user, f"new{len(self.devices)}"))
        elif device.away:
            return
        elif kind == "send":
            self._sent += 1
            device.send(
                [user for user in self.users if user != device.user][number % 2],
                f"message {self._sent}",
            )
        elif kind == "read":
            device.read()
        elif kind == "drop":
            self._lose(device.client)
        elif kind in ("end", "install again"):
            if number % 2:
                self._lose(device.client)
            await device.end()
            if kind == "install again":
                self.devices[place] = await self._install(device.user, device.name)

    async def all_come_back(self) -> None:
        """Whoever was away, and to each a new device."""
        for place, device in enumerate(self.devices):
            if device.away:
                await self._open(place)
        for user in self.users:
            self.devices.append(await self._install(user, "last"))

    async def end(self) -> None:
        for device in self.devices:
            await device.end()

    @property
    def here(self) -> list[Device]:
        return [device for device in self.devices if not device.away]

    def online(self) -> dict[str, bool]:
        return {
            user: any(device.online for device in self.here if device.user == user)
            for user in self.users
        }

    def wrong(self, truth: Truth) -> list[str]:
        """What is not as it must be at the end."""
        wrong = differences(truth, [device.view() for device in self.here])
        for device in self.here:
            wrong += device.faults
            wrong += [
                f"{device.user}/{device.name} has said {seq} of {conversation}, read: {is_read}"
                for (conversation, is_read), seq in device.claims.items()
                if truth.marks.get((conversation, device.user), (0, 0))[is_read] < seq
            ]
        return wrong

    async def _open(self, place: int) -> None:
        device = self.devices[place]
        if device.folder is None:
            self.devices[place] = await self._install(device.user, device.name)
        else:
            await device.start_again()

    async def _install(self, user: str, name: str) -> Device:
        self._made += 1
        device = Device(
            user, name, self._folder / f"{self._made}" if name == "phone" else None, self._make
        )
        await device.start()
        return device
