"""Telling Kafka's controllers of a dead broker: controllers that are busy, or gone."""

import asyncio

import pytest

from connectors.kafka import broker_leaving
from connectors.kafka.broker_leaving import unregister
from connectors.kafka.ports import KafkaUnreachable


async def test_a_controller_that_is_slow_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker_leaving, "_SECONDS", 1_000.0)  # a busy machine may need more than 5
    asked = asyncio.Semaphore(0)
    quiet = asyncio.Event()

    async def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.release()
        await quiet.wait()
        writer.close()

    async with await asyncio.start_server(accept, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        telling = asyncio.create_task(unregister(2, [(host, port)], f"{host}:{port}"))
        async with asyncio.timeout(60):
            await asked.acquire()
            await asked.acquire()
        assert not telling.done()
        telling.cancel()
        quiet.set()
        await asyncio.gather(telling, return_exceptions=True)


async def test_one_that_is_gone_ends_it_at_once() -> None:
    async with await asyncio.start_server(lambda *_: None, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
    with pytest.raises(KafkaUnreachable, match="Connect call failed"):
        await unregister(2, [(host, port)], f"{host}:{port}")
