"""The readers of examples/readers beside a stack."""

import asyncio
import json
import sys
from pathlib import Path

import pytest

from connectors.clickhouse.admin import ArchiveAdmin
from ops.local.process import die_with_parent
from schemas.topics import LOG
from tests.harness import kafka
from tests.harness.archive import wait_equal
from tests.harness.readers import NODE, PYTHON, READERS, read_messages
from tests.harness.stack import Stack
from tests.harness.talk import Talk

pytestmark = pytest.mark.real


async def test_a_gateway_of_somebody_elses_gets_what_its_device_needs(stack: Stack) -> None:
    async with Talk(stack, "foreign") as talk, asyncio.timeout(120):
        alice, bob = await talk.join("alice"), talk.user("bob")
        where = [str(READERS / "deliveries.py"), stack.kafka, stack.redis, "8", bob, "phone"]
        gateway = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", *where),
            stdout=asyncio.subprocess.PIPE,
            preexec_fn=die_with_parent,
        )
        try:
            assert gateway.stdout is not None
            assert (await gateway.stdout.readline()).startswith(b"slot ")
            await talk.say(alice, "bob", ["one", "two"])
            frames: list[dict[str, object]] = []
            while len(frames) < 2:
                line = await gateway.stdout.readline()
                assert line, "it has ended"
                if line.startswith(b"{"):  # else it says that the device must ask
                    frames.append(json.loads(line))
            found = [(one["t"], one["seq"], one["body"]) for one in frames]
            assert found == [("message", 1, "one"), ("message", 2, "two")]
        finally:
            gateway.terminate()
            await gateway.wait()


async def test_readers_of_other_teams_agree_with_the_archive(tmp_path: Path) -> None:
    """Also about records that a paused worker appends again. (The stack is of its own: other tests
    of the archive count messages without changes.)"""
    with Stack(tmp_path / "stack", archivers=1) as own:
        async with Talk(own, "team") as talk:
            ada, peer = await talk.join("ada"), talk.user("bob")
            await talk.say(ada, "bob", ["one", "two"])
            await ada.edit(peer, 1, "one, corrected")
            await ada.delete(peer, 2)
        for partition in range(4):
            for early in (await asyncio.to_thread(kafka.read_all, own, LOG, partition))[:1]:
                kafka.produce(own, LOG, partition, early.value)
        await wait_equal(own, 60)
        admin = ArchiveAdmin(own.clickhouse("admin"))
        archived = admin.query(
            "SELECT conversation, seq, key, sender, device, body, toUnixTimestamp64Milli(time), "
            "changes FROM archive.exact_messages"
        )
        admin.close()
        assert len(archived) == 4
        for reader in PYTHON, NODE:
            read = await asyncio.to_thread(read_messages, reader, own.kafka)
            assert sorted(read) == sorted(archived), reader
