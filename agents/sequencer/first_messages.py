"""Saying who has a conversation that begins, before its first message is delivered (R11.1).

The chain of deliveries waits for Kafka's acknowledgement, but not for long: nobody may lead the
partition of `memberships`, and everybody else's messages would wait, too. Then it goes on. A device
that comes meanwhile, and asks where its user has conversations, may hear of this one neither way.
So when the members are said at last, their devices are told to ask again. d stays below until then.
"""

import asyncio
import logging
from collections.abc import Awaitable, Collection, Sequence
from functools import partial
from typing import NamedTuple

from agents.sequencer.ports import DeliveryPort
from connectors.kafka.ports import KafkaSendError
from schemas.events import DeliveriesMissed
from streams.retry import Retry
from streams.steps import STUCK_SECONDS

log = logging.getLogger(__name__)

MAX_UNSAID = 200
"""So often may the chain have gone on; then it waits."""
_HASTE_SECONDS = 0.05
"""How long the chain waits while others are not said already."""


class Unsaid(NamedTuple):
    """Members of conversations that begin after input offset `after`."""

    after: int
    users: Sequence[str]


class FirstMessages:
    """Of one partition. Run `say_late` again and again beside the chain."""

    def __init__(self, io: DeliveryPort, retry: Retry) -> None:
        self.unsaid: list[Unsaid] = []
        """In order."""
        self._io = io
        self._retry = retry
        self._some = asyncio.Event()

    async def say(self, users: Sequence[str], after: int) -> None:
        """Say who has conversations that begin after input offset `after`, before the look for
        their routes. It may have to be said late."""
        patience = _HASTE_SECONDS if self.unsaid else STUCK_SECONDS
        try:
            async with asyncio.timeout(patience if len(self.unsaid) < MAX_UNSAID else None):
                await self._say(users)
        except TimeoutError:
            if not self.unsaid:
                log.warning("members are not said yet; deliveries go on")
            self.unsaid.append(Unsaid(after, users))
            self._some.set()

    async def say_late(self) -> None:
        """Say what could not be said in time, and have those devices ask again."""
        await self._some.wait()
        said = len(self.unsaid)
        users = list({user: None for unsaid in self.unsaid for user in unsaid.users})
        await self._say(users)
        self._io.forget(users)
        routes = await self._retry(lambda: self._io.lookup(users))
        slots = {slot for found in routes.values() for _, slot in found}
        await self._retry(lambda: self._have_ask(slots))
        log.warning("%d members are said now, and their devices told to ask", len(users))
        del self.unsaid[:said]
        if not self.unsaid:
            self._some.clear()

    async def _say(self, users: Sequence[str]) -> None:
        def say() -> Awaitable[None]:
            said = self._io.say_members(users)
            return self._retry.acknowledged(said, "records of memberships")

        await self._retry(say)

    async def _have_ask(self, slots: Collection[int]) -> None:
        """Raises KafkaSendError if a slot may not be told."""
        told = [asyncio.get_running_loop().create_future() for _ in slots]
        for slot, one in zip(slots, told, strict=True):
            self._io.deliver(slot, [DeliveriesMissed()], partial(_set, one))
        if not all(await asyncio.gather(*told)):
            raise KafkaSendError("a slot was not told that its devices have to ask")


def _set(told: asyncio.Future[bool], acknowledged: bool) -> None:
    if not told.done():
        told.set_result(acknowledged)
