"""What streams/ relies on in Faust 0.15.3 and cannot see in its public interface. When one fails,
read the new Faust."""

import asyncio
import inspect
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from aiokafka.consumer.fetcher import Fetcher
from aiokafka.consumer.group_coordinator import GroupCoordinator
from faust.sensors import Monitor
from faust.streams import Stream
from faust.tables.manager import TableManager
from faust.tables.recovery import Recovery
from faust.transport.conductor import ConductorCompiler
from faust.transport.consumer import Consumer, ThreadDelegateConsumer
from faust.transport.consumer import Fetcher as FaustFetcher
from faust.transport.drivers import aiokafka as driver
from mode.threads import ServiceThread
from mode.utils.queues import FlowControlQueue

from connectors.kafka.memory import MemoryKafka
from connectors.kafka.memory_broker import MemoryBroker
from connectors.kafka.record import Record
from streams.faust_adapter.app import MountSettings, NoTables, mount
from streams.faust_adapter.consumer import (
    StageConsumer,
    StageStream,
    in_turns,
    leave_when_stopped,
)
from streams.intake import MAX_BYTES, MAX_RECORDS, coalesce
from streams.partition import PartitionRuntime
from streams.stage import StageSpec
from streams.worker import Worker
from tests.harness.stage_run import shared


def record(offset: int, size: int = 10, partition: int = 0) -> Record:
    return Record(partition, offset, 1000 + offset, bytes(size))


def test_the_version_is_the_one_that_was_read() -> None:
    assert (version("faust-streaming"), version("aiokafka")) == ("0.15.3", "0.14.0")


def test_what_the_consumer_overrides_is_there_and_is_called() -> None:
    for name in (
        "_drain_messages",
        "perform_seek",
        "highwater",
        "ack",
        "_commit_handler",
        "_commit_livelock_detector",
        "_new_consumer_thread",
        "_new_offset",
    ):
        assert name in StageConsumer.__dict__
        assert hasattr(driver.Consumer, name)
    assert "await consumer._drain_messages(self)" in inspect.getsource(FaustFetcher)
    assert "self._new_offset(tp)" in inspect.getsource(Consumer._filter_committable_offsets)
    assert "self._filter_tps_with_pending_acks(topics)" in inspect.getsource(Consumer.force_commit)
    assert "consumer.perform_seek()" in inspect.getsource(Recovery.on_recovery_completed)
    assert "self._filter_committable_offsets(tps)" in inspect.getsource(Consumer._commit_tps)
    handler = inspect.getsource(Consumer._commit_handler.fun)
    assert handler.count("await ") == 2
    assert "await self.commit()" in handler
    assert "await self.verify_all_partitions_active()" in inspect.getsource(
        Consumer._commit_livelock_detector.fun
    )
    assert "self._new_consumer_thread()" in inspect.getsource(ThreadDelegateConsumer)


def test_the_timers_that_are_left_out_do_no_more_than_they_did() -> None:
    assert "self._sample(" in inspect.getsource(Monitor._sampler.fun)
    keepalive = inspect.getsource(ServiceThread._keepalive2)
    for line in ("self.last_wakeup_at > 3.0", "self._wakeup_timer_in_thread()"):
        assert line in keepalive


def test_what_draining_leaves_out_of_faust_is_still_what_it_was() -> None:
    """Faust's own way: a seek when the flow has stopped, `_to_message`, then the callback."""
    drain, getmany = (inspect.getsource(f) for f in (Consumer._drain_messages, Consumer.getmany))
    assert "callback(message), self.suspend_flow.wait()" in drain
    assert "self.perform_seek()" in getmany
    assert "self.app.monitor.track_tp_end_offset(tp, highwater_mark)" in getmany
    assert "yield tp, to_message(tp, record)" in getmany
    assert "message.generation_id != self.app.consumer_generation_id" in inspect.getsource(
        Stream._py_aiter
    )


def test_aiokafka_keeps_the_group_and_fetches_nothing() -> None:
    assert StageConsumer.RebalanceListener is not driver.Consumer.RebalanceListener
    assert "consumer.RebalanceListener(self)" in inspect.getsource(driver.AIOKafkaConsumerThread)
    assert "max_poll_interval_ms=int(max_poll_interval * 1000.0)" in inspect.getsource(
        driver.AIOKafkaConsumerThread
    )
    assert "tp_state.paused" in inspect.getsource(Fetcher._get_actions_per_node)
    assert "backoff = self._fetcher_timeout" in inspect.getsource(Fetcher._get_actions_per_node)


async def test_a_member_with_a_name_leaves_its_group_when_it_stops() -> None:
    """aiokafka leaves the group only without a name."""
    assert "self._group_instance_id is None" in inspect.getsource(
        GroupCoordinator._maybe_leave_group
    )
    assert "self._maybe_leave_group()" in inspect.getsource(GroupCoordinator.close)
    names: list[str | None] = []

    class Coordinator:
        _group_instance_id: str | None = "worker-1"

        async def _maybe_leave_group(self) -> None:
            names.append(self._group_instance_id)

    coordinator = Coordinator()
    for _ in range(2):
        leave_when_stopped(coordinator)
    await coordinator._maybe_leave_group()
    assert names == [None]
    assert coordinator._group_instance_id == "worker-1"


def test_recovery_has_nothing_to_do_and_still_reports() -> None:
    assert "self.need_recovery()" in inspect.getsource(Recovery)
    assert isinstance(TableManager.recovery, property)
    assert isinstance(NoTables.recovery, property)
    assert "table.on_recovery_completed" in inspect.getsource(Recovery.on_recovery_completed)
    assert "table.on_rebalance" in inspect.getsource(TableManager.on_rebalance)
    start = inspect.getsource(TableManager.on_start)
    assert "self.sleep(1.0)" in start  # which NoTables leaves out
    assert start.count("await ") == 3
    assert "self._update_channels()" in start
    assert "self.recovery.start()" in start


def test_the_monitor_still_has_the_figures_that_are_counted() -> None:
    for line in (
        "self.messages_received_total += 1",
        "self.events_total += 1",
        "self.stream_inbound_time[tp] = ",
    ):
        assert line in inspect.getsource(Monitor)


def test_what_the_conductor_and_the_stream_do_beyond_ours_is_still_what_it_was() -> None:
    """Left out: the wait for a producer's buffer, decoding, pressure, sensors, acknowledgements."""
    conductor = inspect.getsource(ConductorCompiler.build)
    assert "await acquire_flow_control()" in conductor
    assert "for chan in channels:" in conductor
    assert "queue.put_nowait_enhanced(" in conductor
    put = inspect.getsource(FlowControlQueue.put)
    assert "await self._flow_control.acquire()" in put
    assert "await super().put(value)" in put
    plain = inspect.getsource(Stream._c_aiter)
    for line in (
        "self._finalized = True",
        "started_by_aiter = await self.maybe_start()",
        "self._channel_stop_iteration(self.channel)",
        "await self.stop()",
        "self.service_reset()",
    ):
        assert line in plain
        assert line.replace("started_by_aiter", "started") in inspect.getsource(StageStream.events)


async def test_an_event_of_an_earlier_generation_does_not_reach_the_agent(tmp_path: Path) -> None:
    kafka = MemoryKafka(MemoryBroker({"t": 2}))
    worker = Worker([StageSpec("s", "s", "t", 2, never)], shared(kafka), pytest.fail)
    settings = MountSettings("127.0.0.1:1", tmp_path, "127.0.0.1", 1, "member")
    [app] = mount(worker, kafka, settings, lambda why: None)
    stream = app.topic("t", partitions=2).stream()
    assert type(stream) is StageStream
    app.flow_control.resume()
    seen: Any = stream.events()
    await app.consumer._bring({0: [record(0)], 1: [record(0, partition=1), record(1, partition=1)]})
    first = await anext(seen)
    assert [[one.offset for one in part] for part in first.value] == [[0], [0, 1]]
    await app.consumer._bring({0: [record(1)]})
    app.consumer_generation_id += 1
    await app.consumer._bring({0: [record(2)]})
    assert [[one.offset for one in part] for part in (await anext(seen)).value] == [[2]]
    assert app.monitor.events_total == app.monitor.messages_received_total == 2
    await seen.aclose()
    await worker.close()


async def test_an_agent_that_is_told_to_stop_ends_without_an_error(tmp_path: Path) -> None:
    """Each worker that stopped wrote a traceback for each of its stages."""
    kafka = MemoryKafka(MemoryBroker({"t": 1}))
    worker = Worker([StageSpec("s", "s", "t", 1, never)], shared(kafka), pytest.fail)
    settings = MountSettings("127.0.0.1:1", tmp_path, "127.0.0.1", 1, "member")
    [app] = mount(worker, kafka, settings, lambda why: None)
    stream: Any = app.topic("t", partitions=1).stream()
    waiting = asyncio.ensure_future(anext(stream.events(), "ended"))
    while not stream.channel.queue._getters:
        await asyncio.sleep(0)
    stream.channel._throw(StopAsyncIteration())  # as faust.agents.actor.Actor.cancel does
    assert await waiting == "ended"
    await worker.close()


def test_an_event_is_what_was_fetched_bounded_by_count_and_bytes() -> None:
    by_count = list(coalesce([record(n) for n in range(MAX_RECORDS * 2 + 1)]))
    assert [len(event) for event in by_count] == [MAX_RECORDS, MAX_RECORDS, 1]
    assert [event[-1].offset for event in by_count] == [
        MAX_RECORDS - 1,
        MAX_RECORDS * 2 - 1,
        MAX_RECORDS * 2,
    ]
    by_bytes = list(coalesce([record(n, MAX_BYTES // 2) for n in range(5)]))
    assert [len(event) for event in by_bytes] == [2, 2, 1]
    assert [len(event) for event in coalesce([record(0, MAX_BYTES * 3), record(1)])] == [1, 1]
    assert list(coalesce([])) == []


async def test_what_crashes_in_faust_ends_the_process_and_says_why(tmp_path: Path) -> None:
    """Fault 20: a process stayed, without its group, and nobody noticed."""
    kafka = MemoryKafka(MemoryBroker({"t": 1}))
    worker = Worker([StageSpec("s", "s", "t", 1, never)], shared(kafka), pytest.fail)
    ended: list[str] = []
    settings = MountSettings("127.0.0.1:1", tmp_path, "127.0.0.1", 1, "member")
    [app] = mount(worker, kafka, settings, ended.append)
    await app.consumer.crash(RuntimeError("a timer of Faust's"))
    assert ended
    assert "a timer of Faust's" in ended[0]
    await worker.close()


def never(number: int, runtime: PartitionRuntime) -> Any:
    raise AssertionError


def test_what_was_fetched_of_several_partitions_is_one_event_within_its_bounds() -> None:
    def events(*fetched: list[Record]) -> list[list[tuple[int, int]]]:
        """(partition, records) of the parts of each event."""
        records = {some[0].partition: some for some in fetched}
        made = list(in_turns("t", records))
        assert all(
            (e.partition, e.offset) == (e.value[0][-1].partition, e.value[0][-1].offset)
            for e in made
        )
        return [[(part[0].partition, len(part)) for part in event.value] for event in made]

    def some(partition: int, count: int, size: int = 10) -> list[Record]:
        return [record(n, size, partition) for n in range(count)]

    assert events(some(0, 3), some(2, 1), some(1, 2)) == [[(0, 3), (2, 1), (1, 2)]]
    assert events(some(0, 600), some(1, 600), some(2, 300)) == [[(0, 600)], [(1, 600), (2, 300)]]
    assert events(some(0, 2, MAX_BYTES // 4), some(1, 3, MAX_BYTES // 4)) == [[(0, 2)], [(1, 3)]]
    assert events(some(0, 1, MAX_BYTES * 2), some(1, 1)) == [[(0, 1)], [(1, 1)]]
    turns = events(some(0, MAX_RECORDS * 2), some(1, 1))
    assert turns == [[(0, MAX_RECORDS)], [(1, 1)], [(0, MAX_RECORDS)]], "they take turns"
    assert not list(in_turns("t", {}))
