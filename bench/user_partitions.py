"""(k) What a `sync` costs the workers, with all asked and with Redis naming the partitions to ask;
and what that costs Redis."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

import uvloop

from bench.cpu import cpu_seconds
from bench.prefill import prefill
from bench.system import System
from connectors.redis.client import RedisClient
from connectors.redis.owners import RedisOwners
from connectors.redis.routes import RedisRoutes
from connectors.redis.user_partitions import Begun, RedisUserPartitions
from gateway.queries.conversations import ConversationQueries
from gateway.queries.partition_lookup import PartitionLookup
from gateway.queries.worker_client import WorkerClient
from gateway.queries.worker_transport import HttpWorkerTransport
from schemas.frames import Sync

PARTITIONS = 4
_AT_ONCE = 16
_BATCH_USERS = 400


class _Everywhere:
    """Names all partitions for every user, as if Redis knew nothing."""

    async def find(self, user: str) -> Sequence[int]:
        return range(PARTITIONS)


def measure(stack: System, workers: int, users: int, syncs: int) -> dict[str, Any]:
    """`users` users with one conversation each; `syncs` syncs of each."""
    uvloop.run(prefill(stack.kafka, stack.redis, PARTITIONS, users * 3, users))
    while sum(page["messages"] for page in _pages(stack, workers)) < users * 3:
        time.sleep(0.2)
    time.sleep(2)
    return uvloop.run(_measure(stack, workers, users, syncs))


async def _measure(stack: System, workers: int, users: int, syncs: int) -> dict[str, Any]:
    redis = RedisClient(stack.redis)
    transport = HttpWorkerTransport()
    owners = RedisOwners(redis, "sequencer")
    sequencers = WorkerClient("sequencer", PARTITIONS, owners, transport)
    everywhere = ConversationQueries(sequencers, cast(PartitionLookup, _Everywhere()))
    known = ConversationQueries(sequencers, PartitionLookup(RedisUserPartitions(redis), sequencers))
    names = [f"alice{number}" for number in range(users)]
    found = {"all_asked": await _sync(stack, workers, everywhere, names * syncs)}
    found["unknown_once"] = await _sync(stack, workers, known, names)
    found["known"] = await _sync(stack, workers, known, names * syncs)
    await transport.close()
    kept = [
        await redis.command("MEMORY", "USAGE", f"directory:{name}") or 0 for name in names[:100]
    ]
    batches = await _batches(stack, redis)
    await redis.close()
    size = {
        "workers": workers,
        "partitions": PARTITIONS,
        "users": users,
        "redis_bytes_a_user": round(sum(kept) / len(kept)),
    }
    return {**size, "a_sync": found, "a_batch": batches}


async def _sync(
    stack: System, workers: int, conversations: ConversationQueries, users: Sequence[str]
) -> dict[str, Any]:
    """What one sync comes to."""
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(user: str) -> None:
        async with gate:
            heads = await conversations.heads(user, Sync(1, {}))
            assert (len(heads.heads), heads.pending) == (1, False), (user, heads)

    def asked() -> tuple[int, int]:
        pages = _pages(stack, workers)
        return sum(page["questions"] for page in pages), sum(
            page["partitions_asked"] for page in pages
        )

    before, cpu, ours = asked(), stack.cpu(), time.process_time()
    await asyncio.gather(*map(one, users))
    after, used, ours = asked(), stack.cpu(), time.process_time() - ours

    def us(parts: Callable[[str], bool]) -> float:
        return round(
            sum(used[name] - cpu[name] for name in used if parts(name)) / len(users) * 1e6, 1
        )

    return {
        "questions": round((after[0] - before[0]) / len(users), 2),
        "partitions_looked_at": round((after[1] - before[1]) / len(users), 2),
        "us_of_workers": us(lambda name: name.startswith("worker")),
        "us_of_redis": us(lambda name: name == "redis"),
        "us_of_who_asks": round(ours / len(users) * 1e6, 1),
    }


def _pages(stack: System, workers: int) -> list[dict[str, Any]]:
    return [page for worker in range(workers) if (page := stack.sequencer(worker)) is not None]


async def _batches(stack: System, redis: RedisClient) -> dict[str, Any]:
    """Redis' CPU us for the look for routes of a batch, by how many of its users begin a
    conversation."""
    routes, directory, pid = RedisRoutes(redis), RedisUserPartitions(redis), stack.pids["redis"]
    users = [f"batch{number}" for number in range(_BATCH_USERS)]
    for user in users[: _BATCH_USERS // 2]:
        await directory.complete(user, (await directory.find(user)).fill_token or "", [])

    async def us(act: Callable[[], Awaitable[object]], times: int = 1000) -> float:
        began = cpu_seconds(pid)
        for _ in range(times):
            await act()
        return round((cpu_seconds(pid) - began) / times * 1e6, 1)

    known, unknown = users[: _BATCH_USERS // 2], users[_BATCH_USERS // 2 :]
    return {
        "users": _BATCH_USERS,
        "us_none_begins": await us(lambda: routes.lookup(users)),
        "us_20_begin_known": await us(lambda: routes.lookup(users, Begun(1, known[:20]))),
        "us_20_begin_unknown": await us(lambda: routes.lookup(users, Begun(1, unknown[:20]))),
        "us_200_begin_known": await us(lambda: routes.lookup(users, Begun(1, known))),
    }
