"""A gateway of somebody else's beside those of a stack: examples/readers/deliveries.py."""

import asyncio
import json
import sys

import pytest

from ops.local.process import die_with_parent
from tests.harness.readers import READERS
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
