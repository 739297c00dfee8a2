"""Gateways killed under load: their devices come back on the other node and show all, once, in
order."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

import pytest

from connectors.redis.routes import CLOCKS_MS
from schemas.codes import Close
from tests.chaos.conftest import ROUNDS
from tests.harness.device import connect_raw, hello
from tests.harness.load import Load
from tests.harness.raw_socket import raw_frame
from tests.harness.stack import Stack
from tests.harness.talk import Talk

pytestmark = [pytest.mark.real, pytest.mark.chaos, pytest.mark.timeout(300 + 30 * ROUNDS)]


PARTS = {"gateways": 2, "cursors": 1, "presence": 1}


@pytest.mark.parametrize(
    "number",
    [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.soak)],
    ids=lambda number: number.name,
)
async def test_a_gateway_dies_and_its_devices_go_to_the_other(
    lab: Stack, load: Load, judged: Callable[[], Awaitable[None]], number: signal.Signals
) -> None:
    await load.start()
    for round_ in range(ROUNDS):
        await load.sent(50)
        lab.kill(f"gateway-{round_ % 2 + 1}", number)
        await asyncio.sleep(0.1)
        print(f"away for {await load.dark():.1f} s")
        await asyncio.to_thread(lab.wait_healthy)
    await load.stop()
    await judged()


async def test_a_node_that_was_paused_takes_no_device_back(lab: Stack, talk: Talk) -> None:
    """Its kernel has taken the device's connection; the device is elsewhere when the node reads
    what it said."""
    alice, bob = await talk.join("alice"), talk.user("bob")
    paused = urlsplit(lab.gateway_urls[0])
    for round_ in range(ROUNDS):
        lab.kill("gateway-1", signal.SIGSTOP)
        reader, writer = await asyncio.open_connection(paused.hostname, paused.port)
        try:
            writer.write(
                f"GET /v1/socket HTTP/1.1\r\nHost: {paused.netloc}\r\n"
                "Upgrade: websocket\r\nConnection: Upgrade\r\n"
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                "Sec-WebSocket-Version: 13\r\n\r\n".encode()
            )
            writer.write(raw_frame(hello(lab, bob, "phone"), 1))
            await asyncio.sleep(2 * CLOCKS_MS / 1000)
            phone = await connect_raw(lab, bob, "phone", gateway=1)
            lab.kill("gateway-1", signal.SIGCONT)
            await asyncio.wait_for(reader.readuntil(Close.SLOT_LOST.number.to_bytes(2)), 10)
        finally:
            writer.close()
        await talk.say(alice, "bob", [f"after the pause {round_}"])
        await phone.until(b"after the pause %d" % round_)
        assert any(b"after the pause %d" % round_ in message for message in phone.received)
        await phone.close()
