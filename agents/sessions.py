"""One partition of the presence: what nodes say of their users, into who is online and since when not."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from agents.folding.outside import Outside
from agents.folding.partition import Partition
from agents.rules.presence import Outcome, UserPresence, fold_presence, node_gone, presence_of
from connectors.redis.client import RedisUnavailable
from connectors.redis.watchers import Watchers
from schemas.codec import decode_presence, decode_presence_state, encode_event, encode_frame
from schemas.events import SCHEMA_VERSION, PresenceChange, PresenceDelivered, PresenceState
from schemas.frames import Presence
from schemas.topics import PRESENCE, PRESENCE_SUBMITTED
from streams.cursor_table import Header
from streams.presence_table import PresenceTable
from streams.stage import GoOn
from streams.state import RocksBudget

GONE_SECONDS = 2.0
"""How long no slot may name a node, after its lease has ended, before its users are offline: its devices may be on their way to
another node."""
_FIRST_RETRY, _LAST_RETRY = 0.05, 1.0


class SessionsPartition(Partition[PresenceChange]):
    """`watchers` know who wants to hear of whom."""

    def __init__(
        self,
        number: int,
        outside: Outside,
        watchers: Watchers,
        state_dir: Path,
        budget: RocksBudget,
        figures: Counter[str],
        go_on: GoOn,
    ) -> None:
        self._watchers = watchers
        self._folder = state_dir / f"presence-{number}"
        self._budget = budget
        self._table: PresenceTable | None = None
        self._missing: dict[str, float] = {}
        """Nodes that no slot names, since when (the loop's seconds)."""
        self._turn = asyncio.Lock()
        super().__init__(number, outside, figures, go_on)

    def decode(self, value: bytes) -> Sequence[PresenceChange]:
        return decode_presence(value).items

    @property
    def readable(self) -> bool:
        return self._table is not None

    def get(self, user: str) -> UserPresence | None:
        """`Known` of the rules."""
        state = self._table.state(user) if self._table is not None else None
        return None if state is None else UserPresence(*state)

    def presence(self, users: Sequence[str]) -> list[Presence] | None:
        """The presence of users; None if this partition is not here. What changes later is told to who watches now."""
        return None if self._table is None else [presence_of(user, self.get(user)) for user in users]

    async def restore(self) -> int:
        return await self.in_thread(self._restore)

    def _restore(self) -> int:
        topic = self.outside.topic_ids()[PRESENCE]
        table, reader = PresenceTable(self._folder, self._budget), self.outside.reader()
        try:
            if table.header is not None and table.header.topic != topic:
                table.close()
                PresenceTable.destroy(self._folder)
                table = PresenceTable(self._folder, self._budget)
            start, end = reader.watermarks(PRESENCE, self.number)
            first = max(start, table.header.offset if table.header else 0)
            for batch in reader.batches(PRESENCE, self.number, first, end, lambda: self.closed):
                states = (decode_presence_state(record.value) for record in batch)
                changed = {state.user: (tuple(state.nodes), state.last_seen) for state in states}
                table.write(changed, Header(topic, batch[-1].offset + 1))
            if not self.closed:
                table.write({}, Header(topic, end))
            offset = self.input_offset(reader, PRESENCE_SUBMITTED)
            self._table = table
            return offset
        except BaseException:
            table.close()
            raise
        finally:
            reader.close()

    async def fold(self, facts: Sequence[tuple[PresenceChange, int]]) -> None:
        async with self._turn:
            outcome = Outcome({}, set())
            fold_presence(self, facts, outcome)
            await self._keep_and_tell(outcome)

    async def look(self, live: Iterable[str]) -> None:
        """Nodes that hold a slot now are `live`; the users of those that have not for a while are offline."""
        table = self._table
        if table is None:
            return
        now = asyncio.get_running_loop().time()
        gone = set(table.nodes()) - set(live)
        self._missing = {node: self._missing.get(node, now) for node in gone}
        for node, since in list(self._missing.items()):
            if now - since >= GONE_SECONDS:
                async with self._turn:
                    outcome = Outcome({}, set())
                    node_gone(self, table.users_of(node), node, int(time.time() * 1000), outcome)
                    await self._keep_and_tell(outcome)

    async def _keep_and_tell(self, outcome: Outcome) -> None:
        if self._table is None or not outcome.changed:
            return
        self._table.write(outcome.changed)
        self.figures["changed"] += len(outcome.changed)
        records = [
            (self.number, encode_event(PresenceState(SCHEMA_VERSION, user, list(state.nodes), state.last_seen)), user.encode())
            for user, state in outcome.changed.items()
        ]
        await asyncio.gather(self.outside.keep(PRESENCE, records), self._tell(sorted(outcome.told)))

    async def _tell(self, users: list[str]) -> None:
        if not users:
            return
        delay = _FIRST_RETRY
        while True:
            try:
                found = await self._watchers.find(users)
                break
            except RedisUnavailable:
                self.waits_for_redis(True)
                await asyncio.sleep(delay)
                delay = min(delay * 2, _LAST_RETRY)
        self.waits_for_redis(False)
        slots: dict[int, list[PresenceDelivered]] = {}
        for user, watching in found.items():
            event = PresenceDelivered(user, encode_frame(presence_of(user, self.get(user))))
            for slot in watching:
                slots.setdefault(slot, []).append(event)
        await self.tell(slots)

    def let_go(self) -> None:
        if self._table is not None:
            self._table.close()
            self._table = None
