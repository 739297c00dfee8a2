"""The routes that a partition has looked up lately, so that not every message asks Redis
(decision 50).

A device writes its route first, and then asks every partition in which its user has conversations
what is new (R11, R13). The partition forgets the user's routes when it is asked. So whatever the
answer lacks is delivered by routes that were read after the device had written its own.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence

from agents.rules.fanout import Routes
from agents.rules.fold import Outcome

KEPT_SECONDS = 10.0
"""For so long a device that asks nothing may lack messages, and a device that has gone costs
records."""
MAX_USERS = 10_000
"""Some 3 MB. Beyond it all are forgotten."""

Found = Sequence[tuple[str, int]]


class RememberedRoutes:
    """Of one partition, as long as this worker has it. `look_up` asks Redis. `confirmed` says
    whether no other worker can have the partition now: another one may have answered a device, and
    then what is remembered does not count. `clock` is in seconds."""

    def __init__(
        self,
        look_up: Callable[[Sequence[str]], Awaitable[Routes]],
        confirmed: Callable[[], bool],
        clock: Callable[[], float],
    ) -> None:
        self._look_up = look_up
        self._confirmed = confirmed
        self._clock = clock
        self._known: dict[str, tuple[float, Found]] = {}
        """User → until when which routes are remembered."""
        self._asked: list[set[str]] = []
        """The users of each look-up under way whose routes will be remembered."""

    async def lookup(self, users: Sequence[str]) -> Routes:
        """The routes of these users. Raises RedisUnavailable."""
        return self._remembered(users) or await self._ask(users)

    def forget(self, user: str) -> None:
        """A device of the user is being answered, or may have come: only what is read from now on
        counts."""
        self._known.pop(user, None)
        for asked in self._asked:
            asked.discard(user)

    def heard(self, outcome: Outcome, slots: Mapping[int, int]) -> None:
        """Devices have submitted what was folded; `slots` says by which slot each input offset
        came. A device that comes by another slot than before waits for its `sent` there."""
        for item in outcome.taken:
            _, routes = self._known.get(item.sender, (0.0, ()))
            if (item.device, slots.get(item.offset)) not in routes:
                self.forget(item.sender)
        for answer in outcome.answers:
            self.forget(answer.item.sender)

    def _remembered(self, users: Sequence[str]) -> Routes | None:
        if not self._confirmed():
            return None
        now, found = self._clock(), {}
        for user in users:
            until, routes = self._known.get(user, (now, ()))
            if until <= now:
                return None
            found[user] = routes
        return found

    async def _ask(self, users: Sequence[str]) -> Routes:
        asked = set(users)
        until = self._clock() + KEPT_SECONDS
        self._asked.append(asked)
        try:
            found: Mapping[str, Found] = await self._look_up(users)
        finally:
            self._asked = [one for one in self._asked if one is not asked]
        if len(self._known) + len(asked) > MAX_USERS:
            self._known.clear()
        self._known.update((user, (until, found[user])) for user in asked)
        return found
