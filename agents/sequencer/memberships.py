"""What the sequencer says in `memberships` (R11): who has conversations in which partition."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Protocol

from agents.sequencer.log_applier import LogApplier
from agents.sequencer.queries import TableGone, in_slices
from schemas.codec import encode_event
from schemas.events import SCHEMA_VERSION, AllSaid, Membership, MembershipRecord
from schemas.ids import partition_of
from streams.retry import Retry
from streams.sending import Keyed
from streams.tables.sequences import SequenceTable


def member_records(users: Iterable[str], partition: int, partitions: int) -> list[Keyed]:
    """Records that say that each user has conversations in a partition, one of `partitions`."""
    return [
        (
            partition_of(user, partitions),
            encode_event(MembershipRecord(SCHEMA_VERSION, Membership(user, partition))),
            f"{user}\0{partition}".encode(),
        )
        for user in users
    ]


def all_said_records(topic: str, partition: int, partitions: int) -> list[Keyed]:
    """A record for each partition of `memberships`, whose id `topic` is."""
    value = encode_event(MembershipRecord(SCHEMA_VERSION, AllSaid(partition, topic)))
    return [(number, value, f"\0{partition}".encode()) for number in range(partitions)]


class Owned(Protocol):
    """The partition; see agents/sequencer/partition.py."""

    async def current(self) -> SequenceTable | None: ...

    def gone(self, table: SequenceTable) -> Callable[[], bool]: ...


class MembershipPort(Protocol):
    """Both return once Kafka has acknowledged it, and raise KafkaSendError, QueueFull: say it
    again."""

    async def say_members(self, users: Sequence[str]) -> None:
        """These users have conversations in this partition."""

    async def say_all_said(self, topic: str) -> None:
        """Everybody who has was named in the `memberships` with the id `topic`."""


class MemberSayer:
    """Says once who has conversations in a partition: those that had begun before it said each
    first message's users (R11). The table keeps that it has."""

    def __init__(self, applier: LogApplier, io: MembershipPort, retry: Retry) -> None:
        self._applier = applier
        self._io = io
        self._retry = retry
        self._saying = False

    def owes(self, topic: str) -> bool:
        """Whether the `memberships` with this id have not heard it, and nobody is saying it."""
        return bool(topic) and not self._saying and self._applier.header.members_said != topic

    async def say(self, owned: Owned, topic: str) -> None:
        """Say it, unless the table cannot be had now. It has whatever was said to another topic:
        that was folded before now."""
        self._saying = True
        try:
            table = await owned.current()
            if table is not None:
                async for users in in_slices(table.users(), owned.gone(table)):
                    await self._acknowledged(lambda users=users: self._io.say_members(users))  # type: ignore[misc]
                await self._acknowledged(lambda: self._io.say_all_said(topic))
                self._applier.members_said(topic)
        except TableGone:
            pass
        finally:
            self._saying = False

    async def _acknowledged(self, say: Callable[[], Awaitable[None]]) -> None:
        await self._retry(lambda: self._retry.acknowledged(say(), "records of memberships"))
