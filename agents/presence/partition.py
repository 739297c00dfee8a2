"""One partition of the presence: what nodes say of their users, into who is online and since when
not."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from agents.rules.presence import Absences, Outcome, Said, fold_kept, fold_presence, node_gone
from agents.table_stage.changelog_restore import read_kept
from agents.table_stage.io import TableStageIO
from agents.table_stage.partition import Partition
from connectors.redis.client import RedisUnavailable
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
from schemas.topics import PRESENCE, PRESENCE_SUBMITTED
from streams.earlier_stage import GoOn
from streams.tables.presence import PresenceTable
from streams.tables.rocks import RocksBudget

GONE_SECONDS = 2.0
"""How long no slot may name a node, after its lease has ended, before its users are offline: its
devices may be on their way to another node."""
_FIRST_RETRY, _LAST_RETRY = 0.05, 1.0


class PresencePartition(Partition[PresenceChange]):
    """`watchers` know who wants to hear of whom.

    What is in the topic or in the table has been told. So whoever folds a fact again, or finds a
    node dead again, either changes something and tells it, or has nothing to tell. An owner that
    was paused may tell and keep what its successor has outdone: nodes, and the next restore, leave
    it out.
    """

    def __init__(
        self,
        number: int,
        outside: TableStageIO,
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
        self._telling: Mapping[str, PresenceState] = {}
        """What is being told, and not in the table yet."""
        self._input_id = ""
        self._absences = Absences(LEASE_SECONDS, GONE_SECONDS)
        self._turn = asyncio.Lock()
        super().__init__(number, outside, figures, go_on)

    def decode(self, value: bytes) -> Sequence[PresenceChange]:
        return decode_presence(value).items

    @property
    def readable(self) -> bool:
        return self._table is not None

    def state(self, user: str) -> PresenceState | None:
        """`Known` of the rules."""
        if user in self._telling:
            return self._telling[user]
        return self._table.state(user) if self._table is not None else None

    def presence(self, users: Sequence[str]) -> list[PresenceState] | None:
        """What is known of users; None if this partition is not here. What changes later is told to
        who watches now."""
        return (
            None
            if self._table is None
            else [state for user in users if (state := self.state(user)) is not None]
        )

    async def restore(self) -> int:
        offset, outdone = await self.in_thread(self._restore)
        await self._keep(outdone)
        return offset

    def _restore(self) -> tuple[int, dict[str, PresenceState]]:
        """Opens the table; the input offset, and users whose last record in the topic is not how
        they are."""
        self._input_id = self.outside.topic_ids()[PRESENCE_SUBMITTED]
        with contextlib.closing(self.outside.reader()) as reader:
            offset = self.input_offset(reader, PRESENCE_SUBMITTED)
            self._table, outdone = read_kept(
                self,
                reader,
                PRESENCE,
                self._folder,
                lambda: PresenceTable(self._folder, self._budget),
                _fold_kept,
            )
        return offset, outdone

    async def fold(self, facts: Sequence[tuple[PresenceChange, int, int]]) -> None:
        async with self._turn:
            for node in {change.node for change, _, _ in facts}:
                self._absences.heard(node)
            outcome = Outcome({}, set())
            fold_presence(self, (Said(*fact) for fact in facts), self._input_id, outcome)
            await self._tell_and_keep(outcome)

    async def look(self, asked: float, holders: Holders) -> None:
        """These nodes hold a slot, asked at that time (monotonic seconds); the users of those that
        have not for a while are offline."""
        async with self._turn:
            table = self._table
            if table is None:
                return
            for node in self._absences.look(asked, table.nodes(), holders.nodes, holders.remembers):
                outcome = Outcome({}, set())
                node_gone(self, table.users_of(node), node, int(time.time() * 1000), outcome)
                await self._tell_and_keep(outcome)

    async def _tell_and_keep(self, outcome: Outcome) -> None:
        table = self._table
        if table is None or not outcome.changed:
            return
        self._telling = outcome.changed
        try:
            await self._tell(sorted(outcome.told))
            if self._table is table:  # else another owner tells and keeps it
                await self._keep(outcome.changed)
            if self._table is table:
                table.write(outcome.changed)
                self.figures["changed"] += len(outcome.changed)
        finally:
            self._telling = {}

    async def _keep(self, states: Mapping[str, PresenceState]) -> None:
        records = [
            (self.number, encode_event(state), user.encode()) for user, state in states.items()
        ]
        await self.outside.keep(PRESENCE, records)

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
            state = self._telling[user]
            event = PresenceDelivered(user, encode_frame(presence_of(user, state)), state)
            for slot in watching:
                slots.setdefault(slot, []).append(event)
        await self.tell(slots)

    def let_go(self) -> None:
        if self._table is not None:
            self._table.close()
            self._table = None


def _fold_kept(
    table: PresenceTable,
    values: Iterator[bytes],
    changed: dict[str, PresenceState],
    outdone: dict[str, PresenceState],
) -> None:
    fold_kept(table, map(decode_presence_state, values), changed, outdone)
