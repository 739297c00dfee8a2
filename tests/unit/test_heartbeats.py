"""A worker knows when its group has confirmed it last: by heartbeats of aiokafka 0.14.0, which are
private."""

import asyncio
import inspect
import time
from types import SimpleNamespace

import pytest
from aiokafka.client import AIOKafkaClient
from aiokafka.consumer.group_coordinator import GroupCoordinator

from streams.faust_adapter import consumer
from streams.faust_adapter.consumer import ask_another, note_heartbeats


def test_aiokafka_beats_by_the_method_that_is_noted() -> None:
    routine = inspect.getsource(GroupCoordinator._heartbeat_routine)
    assert "success = await self._do_heartbeat()" in routine
    assert "return True" in inspect.getsource(GroupCoordinator._do_heartbeat)


async def test_only_what_the_group_has_acknowledged_counts_and_from_when_it_was_sent() -> None:
    app = SimpleNamespace(confirmed_at=float("-inf"))
    beats: list[float] = []

    class Coordinator:
        acknowledges = False

        async def _do_heartbeat(self) -> bool:
            beats.append(time.monotonic())
            return self.acknowledges

    coordinator = Coordinator()
    for _ in range(2):
        note_heartbeats(coordinator, app)
    assert await coordinator._do_heartbeat() is False
    assert app.confirmed_at == float("-inf")
    coordinator.acknowledges = True
    assert await coordinator._do_heartbeat() is True
    assert len(beats) == 2, "noted once"
    assert beats[0] < app.confirmed_at <= beats[1]


async def test_a_coordinator_that_stands_still_is_looked_for_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(consumer, "ANSWER_SECONDS", 0.01)
    app = SimpleNamespace(confirmed_at=0.0)
    dead: list[bool] = []

    class Coordinator:
        async def _do_heartbeat(self) -> bool:
            await asyncio.Event().wait()
            return True

        def coordinator_dead(self) -> None:
            dead.append(True)

    coordinator = Coordinator()
    note_heartbeats(coordinator, app)
    assert await coordinator._do_heartbeat() is False
    assert (dead, app.confirmed_at) == ([True], 0.0)


async def test_another_broker_is_asked_while_one_stands_still(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(consumer, "ANSWER_SECONDS", 0.01)
    asked: list[str] = []

    class Client:
        async def coordinator_lookup(self, kind: int, group: str) -> int:
            asked.append(group)
            if len(asked) < 3:
                await asyncio.Event().wait()
            return 2

    client = Client()
    for _ in range(2):
        ask_another(client)
    assert await client.coordinator_lookup(0, "sequencer") == 2
    assert asked == ["sequencer"] * 3


def test_aiokafka_looks_by_the_method_that_is_replaced_and_asks_any_broker() -> None:
    looks = inspect.getsource(GroupCoordinator.ensure_coordinator_known)
    assert "self._client.coordinator_lookup(" in looks
    assert "self.get_random_node()" in inspect.getsource(AIOKafkaClient.coordinator_lookup)
    assert hasattr(GroupCoordinator, "coordinator_dead")
