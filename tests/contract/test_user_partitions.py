"""The directory's port, and what a look for routes adds to it: one suite, in memory and on a real
Redis."""

import asyncio
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from connectors.redis.client import RedisClient
from connectors.redis.memory import MemoryRoutes, MemoryUserPartitions
from connectors.redis.memory_server import MemoryRedis, MemoryRedisServer
from connectors.redis.routes import RedisRoutes, Routes
from connectors.redis.user_partitions import Begun, RedisUserPartitions, UserPartitions
from ops.local.process import die_with_parent
from tests.harness.directory import info
from tests.harness.ports import free_base_port

KEPT = 1.0


class Ports(NamedTuple):
    """Of the same Redis."""

    directory: UserPartitions
    routes: Routes

    async def fill_token(self, user: str) -> str:
        """That of an entry that is filling."""
        fill_token = (await self.directory.find(user)).fill_token
        assert fill_token
        return fill_token

    async def known(self, user: str) -> list[int] | None:
        """None: it is not complete."""
        entry = await self.directory.find(user)
        return sorted(entry.partitions) if entry.fill_token is None else None


@pytest.fixture(params=["memory", "redis"])
def ports(request: pytest.FixtureRequest, redis: RedisClient) -> Ports:
    if request.param == "memory":
        memory = MemoryRedis(MemoryRedisServer(time.monotonic))
        return Ports(MemoryUserPartitions(memory, KEPT), MemoryRoutes(memory))
    return Ports(RedisUserPartitions(redis, KEPT), RedisRoutes(redis))


async def test_a_user_is_unknown_then_filling_then_known(ports: Ports) -> None:
    fill_token = await ports.fill_token("alice")
    assert await ports.fill_token("alice") == fill_token, (
        "the entry that is filling is one, whoever fills it"
    )
    assert await ports.fill_token("bob") != fill_token
    assert await ports.directory.complete("alice", fill_token, [3, 1])
    assert await ports.known("alice") == [1, 3]
    assert await ports.known("bob") is None


async def test_a_user_without_conversations_is_known_too(ports: Ports) -> None:
    assert await ports.directory.complete("alice", await ports.fill_token("alice"), [])
    assert await ports.known("alice") == []


async def test_what_begins_is_added_to_entries_that_fill_or_are_complete_and_to_no_other(
    ports: Ports,
) -> None:
    fill_token = await ports.fill_token("alice")
    assert await ports.routes.lookup(["alice", "bob"], Begun(7, ["alice", "bob"])) == {
        "alice": [],
        "bob": [],
    }
    assert await ports.directory.complete("alice", fill_token, [1])
    assert await ports.known("alice") == [1, 7]
    await ports.routes.lookup(["alice"], Begun(0, ["alice"]))
    await ports.routes.lookup(["alice"], Begun(0, ["alice"]))
    assert await ports.known("alice") == [0, 1, 7]
    assert await ports.directory.complete("bob", await ports.fill_token("bob"), [2])
    assert await ports.known("bob") == [2], "nobody had asked for bob"


async def test_who_is_not_asked_for_costs_no_memory(redis: RedisClient) -> None:
    ports = Ports(RedisUserPartitions(redis), RedisRoutes(redis))
    await ports.directory.find("alice")
    await ports.routes.lookup(["alice", "bob"], Begun(7, ["alice", "bob"]))
    assert await redis.command("EXISTS", "directory:alice") == 1
    assert await redis.command("EXISTS", "directory:bob") == 0


async def test_many_who_ask_at_once_have_each_their_own_answer(ports: Ports) -> None:
    users = [f"user{number}" for number in range(600)]
    entries = await asyncio.gather(*map(ports.directory.find, users))
    fill_tokens = [entry.fill_token for entry in entries]
    assert len(set(fill_tokens)) == len(users)
    known = [[number, number + 5000] for number in range(len(users))]
    assert all(await asyncio.gather(*map(ports.directory.complete, users, fill_tokens, known)))  # type: ignore[arg-type]
    assert await asyncio.gather(*map(ports.known, users)) == known


async def test_only_the_filling_that_was_asked_for_is_completed(ports: Ports) -> None:
    fill_token = await ports.fill_token("alice")
    assert not await ports.directory.complete("alice", "another", [1])
    assert not await ports.directory.complete("bob", fill_token, [1])
    assert await ports.known("bob") is None
    assert await ports.directory.complete("alice", fill_token, [2])
    assert not await ports.directory.complete("alice", fill_token, [3]), (
        "a second gateway comes later"
    )
    assert await ports.known("alice") == [2]


async def test_an_entry_that_nobody_asks_for_is_unknown_again(ports: Ports) -> None:
    fill_token = await ports.fill_token("alice")
    for _ in range(3):
        await asyncio.sleep(KEPT / 2)
        assert await ports.fill_token("alice") == fill_token, "asking keeps it"
    await ports.routes.lookup(["alice"], Begun(7, ["alice"]))
    await asyncio.sleep(KEPT * 1.5)
    assert not await ports.directory.complete("alice", fill_token, [1])
    assert await ports.directory.complete("alice", await ports.fill_token("alice"), [2])
    assert await ports.known("alice") == [2]


async def test_a_wiped_redis_knows_nobody_and_completes_nothing_of_before(
    redis: RedisClient,
) -> None:
    ports = Ports(RedisUserPartitions(redis), RedisRoutes(redis))
    fill_token = await ports.fill_token("alice")
    await redis.command("FLUSHALL")
    assert not await ports.directory.complete("alice", fill_token, [1])
    other = await ports.fill_token("alice")
    assert other != fill_token
    assert not await ports.directory.complete("alice", fill_token, [1])
    assert await ports.known("alice") is None


@contextmanager
def redis_on(folder: Path, port: int) -> Iterator[None]:
    """A Redis that keeps what is in it, in `folder`."""
    server = shutil.which("redis-server")
    assert server
    options = [
        "--bind",
        "127.0.0.1",
        "--port",
        str(port),
        "--dir",
        str(folder),
        "--appendonly",
        "yes",
        "--save",
        "",
    ]
    process = subprocess.Popen(
        [server, *options], stdout=subprocess.DEVNULL, preexec_fn=die_with_parent
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait(10)


async def answering(client: RedisClient) -> None:
    async with asyncio.timeout(10):
        while True:
            try:
                await client.command("PING")
                return
            except Exception:
                await asyncio.sleep(0.05)


async def test_a_redis_that_began_anew_from_its_file_knows_nobody(tmp_path: Path) -> None:
    """Real only: what was begun after the file was written is missing in it."""
    port = free_base_port()
    fill_tokens: list[str] = []
    for life in range(3):
        with redis_on(tmp_path, port):
            client = RedisClient(f"redis://127.0.0.1:{port}/0")
            await answering(client)
            ports = Ports(RedisUserPartitions(client), RedisRoutes(client))
            assert await client.command("EXISTS", "directory:alice", "directory:bob") == (
                2 if life else 0
            ), "the file has them"
            if fill_tokens:
                await ports.directory.complete(
                    "bob", fill_tokens[-1], [1]
                )  # it was filling in another life
            for user in ("alice", "bob"):
                assert await ports.known(user) is None
            assert await ports.directory.complete("alice", await ports.fill_token("alice"), [life])
            assert await ports.known("alice") == [life], "what another life knew is gone"
            fill_tokens.append(await ports.fill_token("bob"))
            await client.close()


async def test_a_server_that_was_replaced_for_a_while_knows_nobody_when_it_is_back(
    redis: RedisClient,
) -> None:
    """It is the same run, with what the other server had meanwhile."""
    ports = Ports(RedisUserPartitions(redis), RedisRoutes(redis))
    assert await ports.directory.complete("alice", await ports.fill_token("alice"), [1])
    run = await info(redis, "run_id")
    assert (await redis.command("GET", "directory")).startswith(f"{run} ".encode())
    await redis.command("SET", "directory", "0" * 40 + " another")  # as the other server wrote it
    assert await ports.known("alice") is None


async def test_memory_forgets_as_redis_does_when_it_begins_anew() -> None:
    server = MemoryRedisServer(time.monotonic)
    memory = MemoryRedis(server)
    ports = Ports(MemoryUserPartitions(memory), MemoryRoutes(memory))
    assert await ports.directory.complete("alice", await ports.fill_token("alice"), [1])
    fill_token = await ports.fill_token("bob")
    server.restart(server.save())
    assert await ports.known("alice") is None
    assert await ports.fill_token("bob") != fill_token
    assert not await ports.directory.complete("bob", fill_token, [1])
