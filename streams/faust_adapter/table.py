"""The log as a Faust table: `messages` is the changelog, the state is ours.

Faust assigns the changelog's partitions with the source's and shows the table in its monitor. It
does not restore it: Faust knows no snapshots, swallows exceptions in recovery and would start
silently empty (kafka.md, traps 3 and 7). The stage restores each partition itself while the
partition is held (agents/sequencer).
"""

from collections.abc import Awaitable, Callable
from typing import Any

import faust
from faust.tables.manager import TableManager
from faust.tables.recovery import Recovery
from faust.types import TP

Assigned = Callable[[set[int]], Awaitable[None]]


class _NoRecovery(Recovery):
    def need_recovery(self) -> bool:
        return False


class LogTableManager(TableManager):
    """Faust's `TableManager` setting: rebalances as usual, nothing to recover."""

    @property
    def recovery(self) -> Recovery:
        recovery: Recovery | None = self.__dict__.get("_recovery")
        if recovery is None:
            recovery = self._recovery = _NoRecovery(
                self.app, self, beacon=self.beacon, loop=self.loop
            )
        return recovery


class LogTable(faust.Table):
    """`on_assigned(partitions)` is awaited at each rebalance with all partitions of this worker.

    Reading it answers a conversation's last sequence number from this worker's partitions, 0 if
    unknown.
    """

    def __init__(
        self,
        app: Any,
        *,
        on_assigned: Assigned,
        seq: Callable[[str], int],
        **options: Any,
    ) -> None:
        super().__init__(app, **options)
        self._on_assigned = on_assigned
        self._seq = seq

    def persisted_offset(self, tp: TP) -> int | None:
        return None

    async def on_start(self) -> None:
        pass  # no store of Faust's, no topic declared: topics come from schemas/topics

    async def on_rebalance(
        self, assigned: set[TP], revoked: set[TP], newly_assigned: set[TP], generation_id: int = 0
    ) -> None:
        await self._on_assigned(
            {tp.partition for tp in assigned if tp.topic == self.app.intake_topic}
        )

    async def on_recovery_completed(self, active_tps: set[TP], standby_tps: set[TP]) -> None:
        pass

    def __getitem__(self, key: Any) -> Any:
        return self._seq(str(key))

    def on_key_set(self, key: Any, value: Any) -> None:
        raise TypeError("this table changes only through its log")

    def on_key_del(self, key: Any) -> None:
        raise TypeError("this table changes only through its log")
