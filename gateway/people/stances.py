"""What others have decided about this node's users, as far as the node knows it.

The owner of the people delivers each change to the nodes on which the other user has a device. So
what a node knows of a user counts from the moment at which the user's route was written. Until
then, and while a route was not there, the node has missed changes (R15).
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import NamedTuple

import msgspec

from gateway.queries.worker_client import WorkerClient
from gateway.queries.worker_transport import WorkersUnavailable
from schemas.ids import partition_of
from schemas.worker_api import Stance, StancesAnswer, StancesQuestion

log = logging.getLogger(__name__)

FRESH_SECONDS, AGAIN_SECONDS = 25.0, 5.0
"""For FRESH_SECONDS the node does not ask the owner again. Then it asks beside its work, and what
it knows counts meanwhile. Nobody waits for the answer, so the node asks AGAIN_SECONDS later, about
all stances that it uses until then. A question for each pair that talks would take a twentieth of a
node (decision 64)."""
KEPT_SECONDS = 60.0
"""After that, a send waits for the owner again."""
MAX_USERS, MAX_STANCES = 100_000, 1_000
"""Users of whom a node knows stances, and how many of one; the oldest are forgotten."""
MAX_WAITING = 10_000
"""Calls that may wait for a stance; more calls get None, which means that it is not known."""
TOGETHER = 1_000
"""Stances of one partition that are asked for at once."""

Pair = tuple[str, str]
"""The user who decides, and the user whom it is about."""
Then = Callable[[Stance | None], None]
"""Is called once with the stance; None: it is not known, and nobody can be asked now."""

_stances = msgspec.json.Decoder(list[StancesAnswer])


class _Known(NamedTuple):
    stance: Stance
    at: float
    """When it was asked for, by the loop's clock."""


class Stances:
    """Use it inside a running loop. `workers` are those of the people. One question a partition is
    under way at a time, for all that came meanwhile."""

    def __init__(self, workers: WorkerClient) -> None:
        self._workers = workers
        self._known: dict[str, dict[str, _Known]] = {}
        """About whom → who decides → stance. A dictionary of a user is replaced when something in
        it counts no more, so that an answer that was under way is not put there."""
        self._waiting: dict[int, dict[Pair, list[Then]]] = {}
        """By the partition of who decides."""
        self._asking: dict[int, asyncio.Task[None]] = {}
        self._count = 0
        """How many wait."""
        self._old: dict[Pair, None] = {}
        """What is asked for beside the work, in order."""
        self._clock = asyncio.get_running_loop().time

    def fresh(self, user: str, other: str) -> Stance | None:
        """What `user` has decided about `other`, if that is known; nobody waits for it then."""
        mine = self._known.get(other)
        known = mine.get(user) if mine is not None else None
        if known is None:
            return None
        age = self._clock() - known.at
        if age > FRESH_SECONDS:
            if age > KEPT_SECONDS:
                return None
            self._want_later((user, other))
        return known.stance

    def look(self, user: str, other: str, then: Then) -> None:
        """Call `then` with what `user` has decided about `other`: now, or when the owner has
        answered. Callers that wait for one pair are called in order."""
        stance = self.fresh(user, other)
        if stance is not None or self._count >= MAX_WAITING:
            then(stance)
        else:
            self._count += 1
            self._want((user, other)).append(then)

    async def find(self, users: Collection[str], other: str) -> Mapping[str, Stance]:
        """user → what it has decided about `other`, without those whom nobody knows now."""
        answers: dict[str, asyncio.Future[Stance | None]] = {}
        for user in users:
            answer = answers[user] = asyncio.get_running_loop().create_future()
            self.look(user, other, partial(_resolve, answer))
        found = {user: await answer for user, answer in answers.items()}
        return {user: stance for user, stance in found.items() if stance is not None}

    def forget(self, other: str, users: Collection[str] | None = None) -> None:
        """`users` have decided something about `other`, or the node may not have been told of it;
        None: all users."""
        mine = self._known.pop(other, None)
        if mine is not None and users is not None:
            self._known[other] = {one: known for one, known in mine.items() if one not in users}

    def forget_all(self) -> None:
        self._known.clear()

    def _want_later(self, pair: Pair) -> None:
        if not self._old:
            asyncio.get_running_loop().call_later(AGAIN_SECONDS, self._want_old)
        if len(self._old) < MAX_WAITING:
            self._old[pair] = None

    def _want_old(self) -> None:
        old, self._old = self._old, {}
        for pair in old:
            self._want(pair)

    def _want(self, pair: Pair) -> list[Then]:
        """Ask for it. Returns those who wait for it."""
        number = partition_of(pair[0], self._workers.partitions)
        waiting = self._waiting.setdefault(number, {})
        if number not in self._asking:
            self._asking[number] = asyncio.create_task(self._ask_all(number, waiting))
        return waiting.setdefault(pair, [])

    async def _ask_all(self, number: int, waiting: dict[Pair, list[Then]]) -> None:
        while waiting:
            pairs = list(islice(waiting, TOGETHER))
            asked = self._clock()
            places = [self._place(other) for _, other in pairs]
            answers = await self._ask(number, pairs)
            for place, pair, stance in zip(places, pairs, answers, strict=True):
                user, other = pair
                if stance is not None:
                    if self._known.get(other) is not place:
                        continue  # it has changed meanwhile: ask again
                    place[user] = _Known(stance, asked)
                elif (known := self._known.get(other, {}).get(user)) is not None:
                    # an owner that cannot be reached folds nothing, either
                    stance = known.stance
                self._answer(waiting.pop(pair), stance)
        del self._asking[number], self._waiting[number]

    def _place(self, other: str) -> dict[str, _Known]:
        """Where the stances about a user stand."""
        place = self._known.get(other)
        if place is None or len(place) >= MAX_STANCES:
            if len(self._known) >= MAX_USERS:
                del self._known[next(iter(self._known))]
            place = self._known[other] = {}
        return place

    async def _ask(self, number: int, pairs: Sequence[Pair]) -> Sequence[Stance | None]:
        try:
            found, complete = await self._workers.ask_owners(
                "stances", _stances, [number], lambda _: StancesQuestion({number: list(pairs)})
            )
            if complete and len(found[number]) == len(pairs):
                return found[number]
        except WorkersUnavailable as error:
            log.debug("stances are not known now: %s", error)
        except Exception:  # a fault of ours: whoever waits is told, and asks again
            log.exception("stances could not be asked for")
        return [None] * len(pairs)

    def _answer(self, waiting: Sequence[Then], stance: Stance | None) -> None:
        self._count -= len(waiting)
        for then in waiting:
            try:
                then(stance)
            except Exception:  # a fault of ours: others wait, too
                log.exception("a stance could not be used")


def _resolve(answer: "asyncio.Future[Stance | None]", stance: Stance | None) -> None:
    if not answer.done():
        answer.set_result(stance)
