"""One partition of the presence: what nodes say of their users, into who is online and since when
not."""

import asyncio
from collections.abc import Sequence, Set

from agents.rules.presence import (
    Absences,
    NodeChange,
    Outcome,
    fold_presence,
    is_late,
    node_gone,
)
from connectors.kafka.record import Record
from connectors.redis.routes import LEASE_SECONDS, Holders
from connectors.redis.watchers import Watchers
from schemas.codec import (
    decode_presence,
    decode_presence_state,
    encode_event,
    encode_frame,
    presence_of,
)
from schemas.events import PresenceChange, PresenceDelivered, PresenceState
from streams.backlog import Told
from streams.partition import PartitionRuntime
from streams.steps import Step
from streams.table_partition import TableIO, TablePartition
from streams.tables.presence import PresenceTable

GONE_SECONDS = 2.0
"""How long no slot may name a node, after its lease has ended, before its users are offline: its
devices may be on their way to another node."""
_USERS_AT_ONCE = 200
"""Of a node that is dead: so many take a few ms of the loop."""


class PresencePartition(TablePartition[PresenceChange, PresenceTable, str, PresenceState]):
    """`watchers` know who wants to hear of whom.

    What nodes say is in the topic and in the table before it is delivered; the next owner folds
    again, and tells again, what was not. That a node is dead nobody says again: that is delivered
    before it is kept, and found again if it was not kept. An owner that was paused may deliver and
    append what its successor has superseded: nodes, and the next restore, leave it out.
    """

    def __init__(
        self,
        number: int,
        runtime: PartitionRuntime,
        io: TableIO[PresenceTable],
        watchers: Watchers,
    ) -> None:
        super().__init__(number, runtime, io)
        self._watchers = watchers
        self._told: dict[str, PresenceState] = {}
        """That a node is dead, as it was told to some slots and may not be kept yet, because a slot
        has not acknowledged it. The next fact is folded into this."""
        self._unkept: dict[str, PresenceState] = {}
        """What is not in the topic and the table yet. Some of it may have been delivered, so what
        comes next changes this, and not what the table has."""
        self._absences = Absences(LEASE_SECONDS, GONE_SECONDS)
        self._turn = asyncio.Lock()

    def decode(self, record: Record) -> Sequence[PresenceChange]:
        return decode_presence(record.value).items

    def change(self, value: bytes) -> tuple[str, PresenceState]:
        state = decode_presence_state(value)
        return state.user, state

    def known(self, table: PresenceTable, key: str) -> PresenceState | None:
        return table.state(key)

    def is_late(self, value: PresenceState, known: PresenceState) -> bool:
        return is_late(value, known)

    def record(self, key: str, value: PresenceState) -> tuple[bytes, bytes]:
        return encode_event(value), key.encode()

    async def fold(self, facts: Sequence[Told[PresenceChange]]) -> None:
        async with self._turn:
            for node in {told.fact.node for told in facts}:
                self._absences.heard(node)
            outcome = Outcome({}, set())
            fold_presence(self, (NodeChange(*told) for told in facts), self.input_id, outcome)
            self._unkept |= outcome.changed
            self._forget(outcome)
            await self._keep()
            await self._deliver(outcome.published)

    async def look(self, asked: float, holders: Holders) -> None:
        """These nodes hold a slot, asked at that time (the loop's, in seconds); the users of those
        that have not for a while are offline. Raises trouble outside: look again."""
        table = self.table
        if table is None:
            return
        for node in self._absences.look(asked, table.nodes(), holders.nodes, holders.remembers):
            while True:
                async with self._turn:
                    # it may have said something meanwhile, or the partition may have gone
                    if self.table is not table or not self._absences.is_dead(node, asked):
                        break
                    if self.news.stuck:
                        return  # it could not be kept
                    users = table.users_of(node, _USERS_AT_ONCE)
                    if not users:
                        break
                    outcome = Outcome({}, set())
                    node_gone(self, users, node, self.runtime.now(), outcome)
                    await self._deliver_and_keep(outcome)

    async def _deliver_and_keep(self, outcome: Outcome) -> None:
        """What was told before, and not to all, is told again."""
        outcome.published.update(self._told.keys() & outcome.changed.keys())
        self._told |= outcome.changed
        step = await self._deliver(outcome.published)
        if step is None or await self.news.acknowledged(step):
            self._unkept |= outcome.changed
            self._forget(outcome)
            await self._keep()

    def _forget(self, outcome: Outcome) -> None:
        for user in outcome.changed:
            self._told.pop(user, None)

    async def _keep(self) -> None:
        table = self.table
        if table is None or not self._unkept:
            return
        await self.append(self._unkept)
        if self.table is table:
            table.write(self._unkept)
            self.figures["changed"] += len(self._unkept)
            self._unkept = {}

    async def _deliver(self, users: Set[str]) -> Step | None:
        slots: dict[int, list[PresenceDelivered]] = {}
        known = {user: state for user in sorted(users) if (state := self.state(user)) is not None}
        if not known:
            return None
        for user, watching in (await self._watchers.find(list(known))).items():
            state = known[user]
            event = PresenceDelivered(user, encode_frame(presence_of(user, state)), state)
            for slot in watching:
                slots.setdefault(slot, []).append(event)
        return await self.deliver(slots)

    # What gateways, and the rules, ask

    def state(self, user: str) -> PresenceState | None:
        """`PresenceView` of the rule."""
        for states in (self._told, self._unkept):
            if user in states:
                return states[user]
        return self.table.state(user) if self.table is not None else None

    def presence(self, users: Sequence[str]) -> list[PresenceState]:
        """What is known of users. What changes later is delivered to whoever watches now."""
        return [state for user in users if (state := self.state(user)) is not None]
