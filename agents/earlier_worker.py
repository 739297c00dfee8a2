"""A worker process: builds the stages it is told to run, runs them in one loop, stops them in
reverse order."""

import asyncio
import gc
import logging
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import uvloop

from agents.sequencer.app import GROUP as SEQUENCER
from agents.sequencer.app import make_sequencer
from agents.sequencer.io import SequencerIO
from agents.settings import WorkerSettings
from connectors.kafka.admin import TopicsAdmin
from connectors.redis.client import RedisClient
from connectors.redis.owners import RedisOwners
from connectors.redis.routes import RedisRoutes
from streams.earlier_watchdog import end_when_blocked
from streams.faust_adapter.app import PipelineApp
from streams.tables.rocks import RocksBudget

log = logging.getLogger(__name__)

_STOP_SECONDS = 8.0
_INSERT_SECONDS = 60.0

TopicIds = Callable[[], Mapping[str, str]]
Build = Callable[[WorkerSettings, TopicIds, RedisClient], list[PipelineApp]]


def build_sequencer(
    settings: WorkerSettings,
    topic_ids: TopicIds,
    redis: RedisClient,
    kind: type[SequencerIO] = SequencerIO,
) -> list[PipelineApp]:
    """The sequencer stage of a worker; `kind` is what its partitions see of the world outside."""
    state_dir = Path(settings.state_dir)
    outside = kind(
        settings.kafka,
        SEQUENCER,
        state_dir,
        topic_ids,
        RedisRoutes(redis),
        RedisOwners(redis, SEQUENCER),
        settings.web_address,
        RocksBudget(),
    )
    return [make_sequencer(outside, settings)]


def run(settings: WorkerSettings, builders: Sequence[Build]) -> int:
    """Run stages until SIGTERM or SIGINT (0), or until one ends by itself (1). Raises TopicsWrong,
    KafkaUnreachable."""
    # What lives long here has no cycles; the collector would look at all of it again and again.
    gc.set_threshold(100_000, 50, 100)
    asyncio.set_event_loop_policy(
        uvloop.EventLoopPolicy()
    )  # also for the loop of Faust's consumer thread
    admin = TopicsAdmin(settings.kafka, settings.partitions, settings.slots)
    admin.require()
    code = asyncio.Runner().run(_run(settings, admin.ids, builders))
    # Threads of Kafka clients that a dead broker keeps waiting, and tasks that no cancellation
    # ends, must not keep a worker that has said goodbye.
    logging.shutdown()
    os._exit(code)


async def _run(settings: WorkerSettings, topic_ids: TopicIds, builders: Sequence[Build]) -> int:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    guard = asyncio.create_task(end_when_blocked())
    redis = RedisClient(settings.redis)
    apps = [app for build in builders for app in build(settings, topic_ids, redis)]
    for app in apps:
        await app.start()
    waiting = [
        asyncio.ensure_future(event.wait()) for event in (stop, *(app.ended for app in apps))
    ]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    code = 0 if stop.is_set() else 1
    stopping = asyncio.create_task(_stop(apps, redis))
    if (await asyncio.wait([stopping], timeout=_STOP_SECONDS))[
        1
    ]:  # Faust swallows the cancellation that a timeout would send
        log.warning(
            "stopping took longer than %.0f s; what was under way is in the log", _STOP_SECONDS
        )
    else:
        stopping.result()
    guard.cancel()
    return code


async def _stop(apps: Sequence[PipelineApp], redis: RedisClient) -> None:
    for app in reversed(apps):
        await app.stop()
        await app.closing()
    await redis.close()
