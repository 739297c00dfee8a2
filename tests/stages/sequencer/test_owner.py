"""What a stop leaves, and what the next owner makes of it."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from agents.sequencer import partition as module
from connectors.kafka.memory import MemoryKafka
from schemas.topics import DELIVERIES, LOG
from schemas.worker_api import LAST_SEQ
from streams.tables.rocks import RocksBudget
from streams.tables.sequences import SequenceTable
from tests.harness.fake_gateway import eventually
from tests.harness.sequencing import SLOT, A, Make, ask, heads, logged, pushed, send


async def test_messages_are_numbered_appended_and_delivered(kafka: MemoryKafka, make: Make) -> None:
    send(kafka, 1, 2, 3)
    async with make() as run:
        await run.running()
        await run.done(3)
        assert logged(kafka) == pushed(kafka) == [1, 2, 3]
        assert await heads(run) == {"0": {A: 3}}
        page = await ask(run, "/sequencer/page/0/", conversation=A, after="1", limit="1")
        assert msgspec.json.decode(page.body.split(b"\n")[0]) == {"known": 3, "changed": 0}
        for conversation, limit, newest in (
            (A, 2, [2, 3]),
            (A, 5, [1, 2, 3]),
            ("alice:zoe", 5, []),
        ):
            asked = {"conversation": conversation, "limit": str(limit), "newest": "1"}
            page = await ask(run, "/sequencer/page/0/", after=str(LAST_SEQ), **asked)
            head, *frames = map(msgspec.json.decode, page.body.split(b"\n"))
            assert (head["known"], [frame["seq"] for frame in frames]) == (
                len(newest and [1, 2, 3]),
                newest,
            )
        counters = await ask(run, "/sequencer/counters/0/")
        assert counters.body.split(b"\n")[1:] == [b'["alice:bob",3]', b""]
        report = run.partition.report()
        assert (report["position"], report["appended"], report["delivered"]) == (2, 2, 2)


async def test_a_stop_waits_for_what_is_about_to_land(
    kafka: MemoryKafka, make: Make, tmp_path: Path
) -> None:
    async with make() as run:
        partition = await run.running()
        kafka.broker.lose_leader(LOG, 0)
        send(kafka, 1, 2)
        await eventually(lambda: not partition.idle)
        asyncio.get_running_loop().call_later(0.2, kafka.broker.find_leader, LOG, 0)
    table = SequenceTable(tmp_path / "partition-0", RocksBudget())
    assert table.header is not None
    assert table.header.position == 1
    table.close()


async def test_a_stop_does_not_wait_long(
    kafka: MemoryKafka, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LANDING_SECONDS", 0.2)
    async with make() as run:
        partition = await run.running()
        kafka.broker.lose_leader(LOG, 0)
        send(kafka, 1)
        await eventually(lambda: not partition.idle)
        began = asyncio.get_running_loop().time()
        await run.stage.stop()
        assert asyncio.get_running_loop().time() - began < 1


async def test_a_new_owner_delivers_what_is_owed(kafka: MemoryKafka, make: Make) -> None:
    async with make() as first:
        await first.running()
        kafka.broker.lose_leader(DELIVERIES, SLOT)
        send(kafka, 1, 2, 3)
        await eventually(lambda: logged(kafka) == [1, 2, 3])
        first.commit()
    kafka.broker.recreate(DELIVERIES)
    async with make() as second:
        await second.running()
        await second.done(3)
        assert pushed(kafka) == [1, 2, 3]


async def test_without_its_disk_the_state_is_built_again(
    kafka: MemoryKafka, make: Make, tmp_path: Path
) -> None:
    send(kafka, 1, 2)
    async with make() as first:
        await first.running()
        await first.done(2)
        first.commit()
    (tmp_path / "partition-0").rename(tmp_path / "gone")
    there = kafka.broker.log(LOG, 0).end
    send(kafka, 2, 3)
    async with make() as second:
        await second.running()
        assert second.partition.restore_progress == (there, there), "the overview page shows it"
        await second.done(4)
        assert logged(kafka) == [1, 2, 3]
