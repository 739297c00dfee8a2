"""Publishes what a user decides about others, and answers when the decision counts."""

from collections.abc import Sequence

import msgspec

from connectors.kafka.ports import Kafka, KafkaSendError, Producer, QueueFull
from gateway.queries.worker_client import WorkerClient
from gateway.queries.worker_transport import WorkersUnavailable
from schemas import frames
from schemas.codec import EVERYBODY, encode_event, person_of
from schemas.events import (
    SCHEMA_VERSION,
    PeopleRecord,
    PersonChange,
    PersonState,
    PresenceShown,
)
from schemas.ids import partition_of
from schemas.topics import PEOPLE_SUBMITTED
from schemas.worker_api import (
    PeopleAnswer,
    PeopleQuestion,
    Stance,
    StancesAnswer,
    StancesQuestion,
)

_PRODUCER = {"linger.ms": 0, "message.timeout.ms": 4_000}

_lists = msgspec.json.Decoder(list[PeopleAnswer])
_stances = msgspec.json.Decoder(list[StancesAnswer])


def change_of(user: str, decision: frames.Decision) -> PersonChange:
    """What `user` decides by a frame."""
    if isinstance(decision, frames.SetPrivacy):
        shown = PresenceShown[decision.presence.upper()]
        return PersonChange(user, EVERYBODY, presence=shown, hides_reads=not decision.reads)
    if isinstance(decision, frames.Block | frames.Unblock):
        return PersonChange(user, decision.user, blocked=isinstance(decision, frames.Block))
    if isinstance(decision, frames.Decline):
        return PersonChange(user, decision.user, declined=True)
    return PersonChange(user, decision.user, contact=isinstance(decision, frames.AddContact))


class ListFull(Exception):
    """The user has decided about too many others, and the change was not taken."""


def state_after(decided: Sequence[PersonState], change: PersonChange) -> PersonState | None:
    """What all that a user has decided after a change says of its subject, None if nothing. Raises
    ListFull."""
    state = next((one for one in decided if one.other == change.other), None)
    wants = change.blocked or change.contact or change.presence or change.hides_reads
    if state is None and wants and len(decided) >= frames.MAX_PEOPLE:
        raise ListFull
    return state


def people_of(id_: int, decided: Sequence[PersonState]) -> frames.People:
    """The frame for all that a user has decided."""
    people, privacy = [], frames.Privacy()
    for state in decided:
        frame = person_of(state.other, state)
        if isinstance(frame, frames.Person):
            people.append(frame)
        else:
            privacy = frame
    return frames.People(id_, people, privacy)


class PeopleLists:
    """`workers` are those of the people."""

    def __init__(self, kafka: Kafka, workers: WorkerClient) -> None:
        self._kafka = kafka
        self._workers = workers
        self._producer: Producer | None = None
        """Made when it is first needed. The node's own does not say that Kafka has a record."""

    async def change(self, change: PersonChange) -> Sequence[PersonState]:
        """Publish a change; returns all that the user has decided once it is folded, told and kept.
        Raises WorkersUnavailable: it may count or not, so the device repeats it."""
        await self._publish(change)
        return await self.of(change.user)

    async def stance_after(self, change: PersonChange) -> Stance:
        """Likewise; returns what the user has then decided about the other one."""
        await self._publish(change)
        partition = partition_of(change.user, self._workers.partitions)
        question = StancesQuestion({partition: [(change.user, change.other)]}, whole=True)
        found = await self._workers.ask_any("stances", _stances, [partition], lambda _: question)
        if partition not in found:
            raise WorkersUnavailable(f"nobody knows what {change.user} has decided now")
        return found[partition][0]

    async def _publish(self, change: PersonChange) -> None:
        if self._producer is None:
            self._producer = self._kafka.producer(_PRODUCER)
        record = PeopleRecord(SCHEMA_VERSION, [change])
        partition = partition_of(change.user, self._workers.partitions)
        try:
            await self._producer.send_and_wait(PEOPLE_SUBMITTED, partition, encode_event(record))
        except (KafkaSendError, QueueFull) as error:
            raise WorkersUnavailable(f"{PEOPLE_SUBMITTED}: {error!r}") from None

    async def of(self, user: str) -> Sequence[PersonState]:
        """All that a user has decided, by everything that is published. The worker that answers has
        folded all of that. Raises WorkersUnavailable."""
        partition = partition_of(user, self._workers.partitions)
        found = await self._workers.ask_any(
            "lists", _lists, [partition], lambda _: PeopleQuestion({partition: [user]})
        )
        if partition not in found:
            raise WorkersUnavailable(f"nobody knows what {user} has decided now")
        return found[partition][0]

    async def close(self) -> None:
        if self._producer is not None:
            producer, self._producer = self._producer, None
            await producer.close(0)
