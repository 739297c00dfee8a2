"""What the appender and the deliverer of one partition need of the outside."""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Protocol

from agents.rules.fanout import Routes
from agents.rules.fold import DeadItem
from connectors.kafka.record import Record
from schemas.events import Delivered


class LogPort(Protocol):
    """The log of one partition, as the appender uses it."""

    def append(self, value: bytes, report: Callable[[bool, int], None]) -> None:
        """Send a record; `report(acknowledged, offset)` comes once. Raises QueueFull."""

    async def dead_letters(self, items: list[DeadItem]) -> None:
        """Set items aside, and take each that is acknowledged out of the list. Raises
        KafkaSendError, QueueFull: call it again with what is left."""

    def read_log(self, start: int) -> AsyncIterator[list[Record]]:
        """Records from log offset `start` to the present end, one list for each fetch. Raises
        ReadTimeout; OffsetGone also if the log ends before `start`."""


class AppendEvents(Protocol):
    """What the appender tells its partition."""

    def landed(self, log_offset: int, to: int) -> None:
        """The log record at `log_offset`, which covers the input up to offset `to`, is applied."""

    def begin_anew(self, why: str) -> None:
        """The state is not the fold of the log, or may not be. The appender has stopped."""

    def halt(self, reason: str) -> None:
        """The log contradicts the state. The appender has stopped."""


class DeliveryPort(Protocol):
    """What the deliverer of one partition needs."""

    async def say_members(self, users: Sequence[str]) -> None:
        """Say in `memberships` that these users have conversations in this partition; returns once
        Kafka has acknowledged it. Raises KafkaSendError, QueueFull."""

    async def lookup(self, users: Sequence[str]) -> Routes:
        """Routes of `users`. Raises RedisUnavailable."""

    def forget(self, users: Sequence[str]) -> None:
        """Only routes of `users` that are looked up from now on count."""

    def deliver(
        self, slot: int, events: Sequence[Delivered], report: Callable[[bool], None]
    ) -> None:
        """Send events to a gateway slot, behind what was sent to it before, in a record that others
        may share; `report(acknowledged)` comes once."""

    def read_log(self, start: int) -> AsyncIterator[list[Record]]:
        """Records from log offset `start` to the present end, one list for each fetch. Raises
        ReadTimeout, OffsetGone."""
