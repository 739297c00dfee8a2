"""One trace of a message from the socket to the archive, at a collector."""

import asyncio
import json
import secrets

import pytest

from connectors.traces import ROOT
from tests.harness.collector import Collector
from tests.harness.device import connect_raw
from tests.harness.stack import Stack

pytestmark = pytest.mark.real


async def test_a_message_leaves_one_trace_from_the_socket_to_the_archive(spare: Stack) -> None:
    key = secrets.token_bytes(8) + (1).to_bytes(8)  # of the smallest share
    other = secrets.token_bytes(16)
    with Collector(spare.collector_port).running() as collector:
        alice, bob = await connect_raw(spare, "tr-alice"), await connect_raw(spare, "tr-bob")
        for ordinal, one in enumerate((key, other), 1):
            send = {"t": "send", "to": "tr-bob", "outbox": "0e" * 16, "ordinal": ordinal}
            await alice.send(json.dumps({**send, "key": one.hex(), "body": "hello"}).encode())
            await bob.until(f'"key":"{one.hex()}"'.encode())
        async with asyncio.timeout(60):  # the SDK sends every 5 s
            while len(collector.spans(key)) < 4:
                await asyncio.sleep(0.1)
        for socket in (alice, bob):
            await socket.close()
    spans = {span.name: span for span in collector.spans(key)}
    root = spans.pop(ROOT)
    assert spans.keys() == {"deliver", "push", "archive"}
    assert {span.parent_span_id for span in spans.values()} == {root.span_id}
    assert collector.spans(other) == [], "the share is kept"
    assert b"hello" not in b"".join(request.SerializeToString() for request in collector.requests)
