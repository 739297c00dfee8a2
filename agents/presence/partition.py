"""One partition of the presence: what nodes say of their users, into who is online and since when
not."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence

from agents.rules.presence import (
    Absences,
    NodeChange,
    Outcome,
    fold_changelog,
    fold_presence,
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
from streams.table_partition import TableIO, TablePartition
from streams.tables.presence import PresenceTable

GONE_SECONDS = 2.0
"""How long no slot may name a node, after its lease has ended, before its users are offline: its
devices may be on their way to another node."""
_USERS_AT_ONCE = 200
"""Of a node that is dead: so many take a few ms of the loop."""


class PresencePartition(TablePartition[PresenceChange, PresenceTable, str, PresenceState]):
    """`watchers` know who wants to hear of whom.

    What is in the topic or in the table has been delivered. So whoever folds a fact again, or finds
    a node dead again, either changes something and delivers it, or has nothing to deliver. An owner
    that was paused may deliver and append what its successor has superseded: nodes, and the next
    restore, leave it out.
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
        self._delivering: Mapping[str, PresenceState] = {}
        """What is being delivered."""
        self._unkept: dict[str, PresenceState] = {}
        """What has been delivered, and is not in the topic and the table yet."""
        self._absences = Absences(LEASE_SECONDS, GONE_SECONDS)
        self._turn = asyncio.Lock()

    def decode(self, record: Record) -> Sequence[PresenceChange]:
        return decode_presence(record.value).items

    def fold_changelog(
        self,
        table: PresenceTable,
        values: Iterable[bytes],
        changed: dict[str, PresenceState],
        superseded: dict[str, PresenceState],
    ) -> None:
        fold_changelog(table, map(decode_presence_state, values), changed, superseded)

    def record(self, key: str, value: PresenceState) -> tuple[bytes, bytes]:
        return encode_event(value), key.encode()

    async def fold(self, facts: Sequence[Told[PresenceChange]]) -> None:
        async with self._turn:
            for node in {told.fact.node for told in facts}:
                self._absences.heard(node)
            outcome = Outcome({}, set())
            fold_presence(self, (NodeChange(*told) for told in facts), self.input_id, outcome)
            await self._deliver_and_keep(outcome)

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
                    users = table.users_of(node, _USERS_AT_ONCE)
                    if not users:
                        break
                    outcome = Outcome({}, set())
                    node_gone(self, users, node, self.runtime.now(), outcome)
                    await self._deliver_and_keep(outcome)

    async def _deliver_and_keep(self, outcome: Outcome) -> None:
        table = self.table
        if table is None or not (outcome.changed or self._unkept):
            return
        self._delivering = outcome.changed
        try:
            await self._deliver(sorted(outcome.published))
            # Watchers know it now. If it cannot be kept, what comes next changes this, and not what
            # the table has: else nobody would be told of a change back.
            self._unkept |= outcome.changed
        finally:
            self._delivering = {}
        await self.append(self._unkept)
        if self.table is table:
            table.write(self._unkept)
            self.figures["changed"] += len(self._unkept)
            self._unkept = {}

    async def _deliver(self, users: list[str]) -> None:
        if not users:
            return
        slots: dict[int, list[PresenceDelivered]] = {}
        for user, watching in (await self._watchers.find(users)).items():
            state = self._delivering[user]
            event = PresenceDelivered(user, encode_frame(presence_of(user, state)), state)
            for slot in watching:
                slots.setdefault(slot, []).append(event)
        await self.deliver(slots)

    # What gateways, and the rules, ask

    def state(self, user: str) -> PresenceState | None:
        """`PresenceView` of the rule."""
        for states in (self._delivering, self._unkept):
            if user in states:
                return states[user]
        return self.table.state(user) if self.table is not None else None

    def presence(self, users: Sequence[str]) -> list[PresenceState]:
        """What is known of users. What changes later is delivered to whoever watches now."""
        return [state for user in users if (state := self.state(user)) is not None]
