"""Which tokens do not count any more. A node reads all of `revocations` before it lets devices in,
and follows it.

A user's own log-outs must not fill the memory of all nodes: of a user who has revoked too many
devices, all tokens are revoked that were made before the last of these.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence

from connectors.kafka.ports import Kafka, Producer, ReadTimeout
from connectors.kafka.record import Record
from schemas.codec import NewerVersion, Undecodable, decode_revocation, encode_event
from schemas.events import SCHEMA_VERSION, Revocation
from schemas.ids import partition_of
from schemas.topics import REVOCATIONS

log = logging.getLogger(__name__)

MAX_DEVICES = 100
"""Of one user, that are revoked one by one."""
_PRODUCER = {"linger.ms": 0, "message.timeout.ms": 4_000}
_WAIT_SECONDS = 30.0
_READ_SECONDS = 5.0
_AGAIN_SECONDS = 1.0


class RevocationBook:
    """What is revoked: user → device (empty: all) → the latest revocation. Pure."""

    def __init__(self) -> None:
        self._users: dict[str, dict[str, Revocation]] = {}

    def add(self, revocation: Revocation) -> None:
        """An earlier one changes nothing."""
        mine = self._users.setdefault(revocation.user, {})
        known = mine.get(revocation.device)
        if known is not None and known.before >= revocation.before:
            return
        mine[revocation.device] = revocation
        if len(mine) > MAX_DEVICES:
            last = max(one.before for one in mine.values())
            every = Revocation(SCHEMA_VERSION, revocation.user, "", last)
            self._users[revocation.user] = {"": every}

    def find(self, user: str, device: str, issued: float) -> Revocation | None:
        """What revokes a token that was made at `issued` (Unix seconds)."""
        mine = self._users.get(user)
        if mine is None:
            return None
        for name in ("", device):
            one = mine.get(name)
            if one is not None and issued * 1000 < one.before:
                return one
        return None

    def of(self, user: str) -> list[Revocation]:
        """What is revoked of the user's, that of all devices first."""
        return [one for _, one in sorted(self._users.get(user, {}).items())]

    def before(self, user: str, device: str) -> int:
        """The time (ms) of what is known of exactly this user and device; 0 without."""
        one = self._users.get(user, {}).get(device)
        return 0 if one is None else one.before


class Revocations:
    """`revoked` is called with each one that comes while the node runs."""

    def __init__(
        self,
        kafka: Kafka,
        partitions: int,
        revoked: Callable[[Revocation], None],
    ) -> None:
        self._kafka = kafka
        self._producer: Producer | None = None
        """Made when it is first needed. The node's own does not say that Kafka has a record."""
        self._partitions = range(partitions)
        self._revoked = revoked
        self.book = RevocationBook()
        self.whole = False
        """All that was in the topic when the node came is in the book."""

    async def revoke(self, user: str, device: str, before: int, logged_out: bool = False) -> None:
        """Revoke the tokens of a user (or, if it is not empty, of a device) that were made before a
        time (ms). It counts on this node now, and on the others when they have read it. Raises
        KafkaSendError, QueueFull."""
        # Kafka keeps the last one only: it must not be an earlier one
        before = max(before, self.book.before(user, device))
        revocation = Revocation(SCHEMA_VERSION, user, device, before, logged_out)
        if self._producer is None:
            self._producer = self._kafka.producer(_PRODUCER)
        await self._producer.send_and_wait(
            REVOCATIONS,
            partition_of(user, len(self._partitions)),
            encode_event(revocation),
            f"{user}\0{device}".encode(),
        )
        self._take(revocation)

    async def run(self) -> None:
        """Read, and follow, until cancelled."""
        ends = await self._ends()
        fetcher = self._kafka.fetcher(REVOCATIONS)
        try:
            fetcher.read(dict.fromkeys(self._partitions, 0))
            while True:
                for partition, records in fetcher.take(self._partitions).items():
                    self._read(records)
                    if records[-1].offset + 1 >= ends.get(partition, 0):
                        ends.pop(partition, None)
                self.whole = self.whole or not ends
                await fetcher.wait(_WAIT_SECONDS)
        finally:
            await fetcher.close()
            if self._producer is not None:
                producer, self._producer = self._producer, None
                await producer.close(0)

    async def _ends(self) -> dict[int, int]:
        """partition → the offset after its last record now, of those that hold some."""
        while True:
            reader = self._kafka.reader(_READ_SECONDS)
            try:
                marks = await asyncio.to_thread(
                    reader.all_watermarks, REVOCATIONS, self._partitions, _READ_SECONDS
                )
                return {number: end for number, (start, end) in marks.items() if end > start}
            except ReadTimeout as error:
                log.warning("the revocations cannot be read yet: %s", error)
            finally:
                await asyncio.to_thread(reader.close)
            await asyncio.sleep(_AGAIN_SECONDS)

    def _read(self, records: Sequence[Record]) -> None:
        for record in records:
            try:
                self._take(decode_revocation(record.value))
            except (Undecodable, NewerVersion) as error:
                place = f"{record.partition}/{record.offset}"
                log.error("the revocation %s cannot be read, and is not in force: %s", place, error)

    def _take(self, revocation: Revocation) -> None:
        self.book.add(revocation)
        self._revoked(revocation)
