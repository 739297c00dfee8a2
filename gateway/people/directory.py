"""Which users there are: a user is there from the first login on."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from itertools import islice

import msgspec
from cachetools import FIFOCache

from gateway.queries.worker_client import WorkerClient
from gateway.queries.worker_transport import WorkersUnavailable
from schemas.worker_api import PresenceAnswer, PresenceQuestion

log = logging.getLogger(__name__)

MAX_KNOWN = 100_000
"""Users who are there; of more, the one known longest is asked about again."""
MAX_WAITING = 10_000
"""Calls that may wait. Any beyond these get None at once."""
TOGETHER = 1_000
"""Users who are asked about at once."""

Then = Callable[[bool | None], None]
"""Is called once: whether the user is there; None: nobody can be asked now."""

_presence = msgspec.json.Decoder(list[PresenceAnswer])


class Directory:
    """`workers` are those of the presence. Use it inside a running loop. That a user is there never
    changes; one question is under way at a time, for all that came meanwhile."""

    def __init__(self, workers: WorkerClient) -> None:
        self._workers = workers
        self._known = FIFOCache[str, bool](MAX_KNOWN)
        self._waiting: dict[str, list[Then]] = {}
        self._count = 0
        self._asking: asyncio.Task[None] | None = None

    def look(self, user: str, then: Then) -> None:
        """Call `then`, now or when the owners have answered. Callers that wait for one user are
        called in order."""
        if user in self._known:
            then(True)
        elif self._count >= MAX_WAITING:
            then(None)
        else:
            self._count += 1
            self._waiting.setdefault(user, []).append(then)
            if self._asking is None or self._asking.done():
                self._asking = asyncio.create_task(self._ask_all())

    async def _ask_all(self) -> None:
        while self._waiting:
            users = list(islice(self._waiting, TOGETHER))
            found = await self._ask(users)
            for user in users:
                is_there = found.get(user)
                if is_there:
                    self._known[user] = True
                waiting = self._waiting.pop(user)
                self._count -= len(waiting)
                for then in waiting:
                    then(is_there)

    async def _ask(self, users: Sequence[str]) -> Mapping[str, bool]:
        """user → whether it is there, as far as that is known."""
        try:
            found, complete = await self._workers.ask_about(
                "users", _presence, users, lambda asked: PresenceQuestion(asked, whole=True)
            )
        except WorkersUnavailable as error:
            log.debug("who is there is not known now: %s", error)
            return {}
        except Exception:  # a fault of ours: whoever waits is told, and asks again
            log.exception("who is there could not be asked for")
            return {}
        there = {state.user: True for states in found.values() for state in states}
        return dict.fromkeys(users, False) | there if complete else there
