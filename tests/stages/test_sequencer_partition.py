"""One partition of the sequencer with a Kafka that reports appends late: what a stop leaves on the
disk."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import pytest

from agents.sequencer import partition as module
from agents.sequencer.log_applier import LogApplier
from agents.sequencer.partition import Partition
from agents.sequencer.restore import Restored
from connectors.kafka.ports import ReadTimeout
from schemas.codec import encode_event
from schemas.events import SCHEMA_VERSION, MessageSubmitted, SubmittedRecord
from streams.earlier_stage import Status
from streams.tables.rocks import RocksBudget
from streams.tables.sequences import FORMAT, Header, SequenceTable


class Read(NamedTuple):
    offset: int
    timestamp: int
    value: bytes


def record(offset: int) -> Read:
    item = MessageSubmitted(
        "alice:bob", "alice", "phone", bytes(16), offset + 1, offset.to_bytes(16), 1, "hi"
    )
    return Read(offset, 1000, encode_event(SubmittedRecord(SCHEMA_VERSION, [item])))


class World:
    """PartitionOutside with an append that is reported `late` seconds after it; None: never."""

    def __init__(self, folder: Path, late: float | None) -> None:
        self._folder = folder
        self._late = late
        self._offset = 0
        self.end = 0
        """Of the input, as Kafka has it."""

    async def restore(self, stopped: Callable[[], bool]) -> Restored:
        state = SequenceTable(self._folder, RocksBudget())
        return Restored(state, LogApplier(state, Header("log", "input", format=FORMAT)), -1)

    def append(self, value: bytes, report: Callable[[bool, int], None]) -> None:
        if self._late is not None:
            asyncio.get_running_loop().call_later(self._late, report, True, self._offset)
        self._offset += 1

    async def input_end(self) -> int:
        return self.end

    async def claim(self) -> None:
        pass

    async def lookup(
        self, users: Sequence[str], begun: Sequence[str]
    ) -> Mapping[str, Sequence[tuple[str, int]]]:
        return {user: [] for user in users}


async def running(world: World) -> Partition:
    """A partition that has been restored."""

    async def go_on(partition: int) -> None:
        pass

    partition = Partition(0, cast(Any, world), Counter(), go_on, now=lambda: 1000)
    while partition.status is not Status.RUNNING:
        await asyncio.sleep(0.01)
    return partition


async def closed_while_appending(folder: Path, late: float | None) -> tuple[Header | None, float]:
    """The header on the disk of a partition that was closed with an append under way, and how long
    the close took."""
    partition = await running(World(folder, late))
    partition.feed([record(0), record(1)])
    await asyncio.sleep(0.01)
    began = time.monotonic()
    await partition.close()
    took = time.monotonic() - began
    state = SequenceTable(folder, RocksBudget())
    header = state.header
    state.close()
    return header, took


async def test_a_stop_waits_for_what_is_about_to_land(tmp_path: Path) -> None:
    header, _ = await closed_while_appending(tmp_path / "state", late=0.2)
    assert header is not None
    assert (header.log_offset, header.position) == (0, 1)


async def test_a_stop_does_not_wait_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LANDING_SECONDS", 0.2)
    header, took = await closed_while_appending(tmp_path / "state", late=None)
    assert header is None
    assert took < 1


async def test_whether_a_user_has_conversations_is_told_when_all_of_the_input_has_landed(
    tmp_path: Path,
) -> None:
    world = World(tmp_path / "state", late=0.05)
    partition = await running(world)
    assert await partition.holds("alice") is False
    world.end = 1
    asking = asyncio.create_task(partition.holds("alice"))
    await asyncio.sleep(0.1)
    assert not asking.done(), "another worker may have folded and delivered what is in the input"
    partition.feed([record(0)])
    assert await asking is True
    assert await partition.holds("bob") is True
    assert await partition.holds("carol") is False
    await partition.close()
    assert await partition.holds("alice") is None


async def test_a_partition_that_is_behind_does_not_tell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_FOLDING_SECONDS", 0.1)
    world = World(tmp_path / "state", late=0)
    partition = await running(world)
    partition.feed([record(0)])
    world.end = 2
    assert await partition.holds("alice") is None
    monkeypatch.setattr(module, "_FOLDING_SECONDS", 60)
    partition.halt("for good")
    async with asyncio.timeout(1):
        assert await partition.holds("alice") is None, "it will not come"
        world.end = 1
        assert await partition.holds("alice") is True, "it is as far as its input"
    await partition.close()


async def test_an_input_that_cannot_be_looked_at_is_not_told_of(tmp_path: Path) -> None:
    class Away(World):
        async def input_end(self) -> int:
            raise ReadTimeout("away")

    partition = await running(Away(tmp_path / "state", late=0))
    assert await partition.holds("alice") is None
    await partition.close()
