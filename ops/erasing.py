"""Erasing messages. Each gets a deletion, as its author might have made one: a change (rule R18)
that takes its text away in the log's pages, in windows, in the archive and whatever is rebuilt from
the log, and on all devices. The number stays.

A run may be ended at any time. The next one goes on: it asks the archive for messages with a text.
"""

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime

from connectors.clickhouse import erasing
from connectors.clickhouse.admin import ArchiveAdmin
from connectors.clickhouse.erasing import Erasable, Run, Selection
from schemas.codec import encode_event
from schemas.events import CHANGES_VERSION, Changed, ChangeSubmitted, SubmittedRecord
from schemas.ids import partition_of

DEVICE = "operator"
_LOOK_SECONDS = 0.5


class NotArchived(Exception):
    """The deletions are submitted, and the archive does not have them yet."""


Send = Callable[[int, bytes], Awaitable[object]]
"""(partition, value) of a record of `messages.submitted`; returns when Kafka has it."""


async def erase(
    admin: ArchiveAdmin,
    send: Send,
    partitions: int,
    selection: Selection,
    run: Run,
    patience: float,
    say: Callable[[int], None],
) -> int:
    """Erase these messages, and return how many there were. The archiver may be behind by
    `patience` seconds: raises NotArchived. `say` is told how many are gone so far."""
    erasing.note(admin, run, selection, 0)
    deletions = Deletions(uuid.uuid4().bytes)
    months: set[str] = set()
    done = 0
    while found := await asyncio.to_thread(erasing.find, admin, selection):
        for one in found:
            await send(partition_of(one.conversation, partitions), deletions.of(one))
        await _gone(admin, found, patience)
        months |= {f"{datetime.fromtimestamp(one.time / 1000, UTC):%Y%m}" for one in found}
        done += len(found)
        erasing.note(admin, run, selection, done)
        say(done)
    await asyncio.to_thread(erasing.merge, admin, sorted(months))
    return done


class Deletions:
    """Makes records from one outbox."""

    def __init__(self, outbox: bytes) -> None:
        self._outbox = outbox
        self._ordinals: dict[tuple[str, str], int] = {}

    def of(self, one: Erasable) -> bytes:
        """The next record: it deletes this message."""
        lane = one.conversation, one.sender
        ordinal = self._ordinals[lane] = self._ordinals.get(lane, 0) + 1
        changed = Changed(one.seq, one.key, one.time)
        item = ChangeSubmitted(
            *(*lane, DEVICE, self._outbox, ordinal, uuid.uuid4().bytes, 0), "", changed
        )
        return encode_event(SubmittedRecord(CHANGES_VERSION, [item]))


async def _gone(admin: ArchiveAdmin, found: Sequence[Erasable], patience: float) -> None:
    until = time.monotonic() + patience
    while not await asyncio.to_thread(erasing.are_gone, admin, found):
        if time.monotonic() > until:
            raise NotArchived(
                f"the archive has not got these deletions within {patience:g} s. They are in Kafka "
                "and will be made; run this again to go on"
            )
        await asyncio.sleep(_LOOK_SECONDS)
