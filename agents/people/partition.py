"""One partition of the people: what users decide about others, kept and told."""

from collections.abc import Sequence

from agents.route_lookups import RouteLookups
from agents.rules.people import Outcome, Pair, fold_people, is_late, stance_of
from connectors.kafka.record import Record
from connectors.redis.watchers import Watchers
from schemas.codec import (
    EVERYBODY,
    decode_people,
    decode_person,
    encode_event,
    encode_frame,
    person_of,
)
from schemas.events import PersonChange, PersonDelivered, PersonState
from schemas.worker_api import Stance
from streams.backlog import Told
from streams.partition import PartitionRuntime
from streams.table_partition import TableIO, TablePartition
from streams.tables.people import PeopleTable


class PeoplePartition(TablePartition[PersonChange, PeopleTable, Pair, PersonState]):
    """It writes a state to the topic `people` before it answers with it or delivers it. So the next
    owner knows it, too. `watchers` know who watches a user, and hears of what counts for
    everybody."""

    def __init__(
        self,
        number: int,
        runtime: PartitionRuntime,
        io: TableIO[PeopleTable],
        lookups: RouteLookups,
        watchers: Watchers,
    ) -> None:
        super().__init__(number, runtime, io)
        self._lookups = lookups
        self._watchers = watchers

    def decode(self, record: Record) -> Sequence[PersonChange]:
        return decode_people(record.value).items

    def change(self, value: bytes) -> tuple[Pair, PersonState]:
        state = decode_person(value)
        return (state.user, state.other), state

    def known(self, table: PeopleTable, key: Pair) -> PersonState | None:
        return table.state(*key)

    def is_late(self, value: PersonState, known: PersonState) -> bool:
        return is_late(value, known)

    def record(self, key: Pair, value: PersonState) -> tuple[bytes, bytes]:
        return encode_event(value), "\0".join(key).encode()

    async def fold(self, facts: Sequence[Told[PersonChange]]) -> None:
        table = self.table
        if table is None:
            return
        outcome = Outcome({}, set())
        fold_people(table, [(told.fact, told.offset) for told in facts], self.input_id, outcome)
        await self.append(outcome.changed)
        table.write(outcome.changed)
        self.figures["changed"] += len(outcome.changed)
        await self._deliver(table, outcome.told)

    async def _deliver(self, table: PeopleTable, told: set[Pair]) -> None:
        """To the devices of who decides, which show it, and to the nodes of the other user, which
        may know what counts no more."""
        if not told:
            return
        users = sorted({user for pair in told for user in pair if user != EVERYBODY})
        routes = await self._lookups.lookup(users)
        watched = sorted({user for user, other in told if other == EVERYBODY})
        watching = await self._watchers.find(watched) if watched else {}
        slots: dict[int, list[PersonDelivered]] = {}
        for pair in sorted(told):
            frame = encode_frame(person_of(pair[1], table.state(*pair)))
            where = {slot for user in pair for _, slot in routes.get(user, ())}
            if pair[1] == EVERYBODY:
                where.update(watching[pair[0]])
            for slot in sorted(where):
                slots.setdefault(slot, []).append(PersonDelivered(*pair, frame))
        await self.deliver(slots)

    # What gateways ask

    def stances(self, pairs: Sequence[Pair]) -> list[Stance]:
        """Of all that is folded. What changes later is delivered to the nodes of the second
        user, whose routes are written before they ask."""
        assert self.table is not None
        table = self.table
        return [
            stance_of(table.state(user, other), table.state(user, EVERYBODY))
            for user, other in pairs
        ]

    def people(self, user: str) -> list[PersonState]:
        """All that a user has decided, and that somebody could notice."""
        assert self.table is not None
        return [state for state in self.table.states(user) if not state.is_default]
