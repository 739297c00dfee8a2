"""A worker knows when its group has confirmed it last: by heartbeats of aiokafka 0.14.0, which are
private."""

import inspect
import time
from types import SimpleNamespace

from aiokafka.consumer.group_coordinator import GroupCoordinator

from streams.faust_adapter.consumer import note_heartbeats


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
