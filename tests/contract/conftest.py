"""A Redis of the contract tests' own, empty for each, and a ClickHouse."""

import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from connectors.clickhouse.admin import ArchiveAdmin
from connectors.redis.client import RedisClient
from ops.local.process import die_with_parent
from tests.harness.clickhouse import ClickHouse
from tests.harness.kafka_server import KafkaServer
from tests.harness.ports import free_base_port


@pytest.fixture(scope="session")
def redis_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    port, server = free_base_port(), shutil.which("redis-server")
    assert server, "redis-server is not installed"
    folder: Path = tmp_path_factory.mktemp("redis")
    options = ["--bind", "127.0.0.1", "--port", str(port), "--dir", str(folder), "--save", ""]
    process = subprocess.Popen(
        [server, *options], stdout=subprocess.DEVNULL, preexec_fn=die_with_parent
    )
    for _ in range(100):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            break
        time.sleep(0.05)
    yield port
    process.terminate()
    process.wait(10)


@pytest.fixture
async def redis(redis_port: int) -> AsyncIterator[RedisClient]:
    client = RedisClient(f"redis://127.0.0.1:{redis_port}/0")
    await client.command("FLUSHALL")
    yield client
    await client.close()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    """A Kafka with all topics."""
    server = KafkaServer(tmp_path_factory.mktemp("kafka"))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def clickhouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouse]:
    """A ClickHouse with the archive's tables."""
    server = ClickHouse(tmp_path_factory.mktemp("clickhouse"))
    server.start()
    admin = ArchiveAdmin(server.url("admin"))
    admin.migrate(lambda migration: None)
    admin.close()
    yield server
    server.stop()
