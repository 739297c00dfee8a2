"""The parts of a local stack, in the order they start."""

import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import NamedTuple

from ops.local.home import Home

MAX_GATEWAYS = 8
MAX_WORKERS = 8
_KAFKA, _CONTROLLER, _REDIS, _WORKERS = 8, 9, 10, 16
_REPOSITORY = Path(__file__).resolve().parents[2]
_JVM = "-Xmx512m -Xms256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1"
"""A young JVM costs 2-3.5 times a warm one; without its second compiler it starts cheaply. Benchmarks set their own."""


class MissingTool(Exception):
    """Something that must be installed is not."""


class Part(NamedTuple):
    """`check` says how health is asked: ("redis" | "tcp" | "http", port, path). `before` are commands run before it starts,
    `after` when it has become healthy for the first time."""

    name: str
    argv: list[str]
    environment: dict[str, str]
    port: int
    check: tuple[str, int, str]
    grace: float
    before: list[list[str]]
    after: list[list[str]]
    address: str


class Layout(NamedTuple):
    """What a stack consists of and where it listens."""

    home: Home
    base_port: int
    workers: int
    gateways: int
    partitions: int = 4

    @property
    def kafka(self) -> str:
        return f"127.0.0.1:{self.base_port + _KAFKA}"

    @property
    def redis(self) -> str:
        return f"redis://127.0.0.1:{self.base_port + _REDIS}/0"

    def environment(self) -> dict[str, str]:
        """What every process of ours in the stack is told."""
        return {
            "MESSENGER_KAFKA": self.kafka,
            "MESSENGER_REDIS": self.redis,
            "MESSENGER_PARTITIONS": str(self.partitions),
            "MESSENGER_LOCAL": "1",
            "MESSENGER_TOKEN_SECRET": self.home.token_secret(),
        }

    def parts(self) -> list[Part]:
        """All parts. Raises MissingTool."""
        messenger = [sys.executable, "-m", "ops"]
        ours = self.environment()
        parts = [self._kafka([[*messenger, "topics", "create", "--wait", "60"]]), self._redis()]
        for number in range(1, self.workers + 1):
            port = self.base_port + _WORKERS + number - 1
            state = str(self.home.folder / f"worker-{number}")
            parts.append(
                Part(
                    f"worker-{number}",
                    [*messenger, "worker", "sequencer"],
                    {**ours, "MESSENGER_STATE_DIR": state, "MESSENGER_WEB_PORT": str(port)},
                    port,
                    ("http", port, "/health/"),
                    5.0,
                    [],
                    [],
                    f"http://127.0.0.1:{port}/ (Faust monitor), /sequencer/, /performance/",
                )
            )
        for number in range(1, self.gateways + 1):
            port = self.base_port + number - 1
            parts.append(
                Part(
                    f"gateway-{number}",
                    [*messenger, "gateway"],
                    {**ours, "MESSENGER_HTTP_PORT": str(port), "MESSENGER_DRAIN_SECONDS": _DRAIN_SECONDS},
                    port,
                    ("http", port, "/ready"),
                    2.5,
                    [],
                    [],
                    f"http://127.0.0.1:{port}/ (chat page)",
                )
            )
        return parts

    def _kafka(self, after: list[list[str]]) -> Part:
        jars = Path(os.environ.get("MESSENGER_KAFKA_LIB", _REPOSITORY / ".local/kafka/lib"))
        java = shutil.which("java")
        if java is None:
            raise MissingTool("java is not installed: a JRE of version 17 or later (Debian: default-jre-headless)")
        if not any(jars.glob("kafka_*.jar")):
            raise MissingTool(f"no Kafka jars in {jars}: `make run` fetches them (Debian: install maven first)")
        folder = self.home.folder / "kafka"
        folder.mkdir(parents=True, exist_ok=True)
        properties = folder / "server.properties"
        port, controller = self.base_port + _KAFKA, self.base_port + _CONTROLLER
        properties.write_text(_SERVER_PROPERTIES.format(port=port, controller=controller, folder=folder))
        program = [java, *shlex.split(os.environ.get("MESSENGER_KAFKA_JVM", _JVM)), "-cp", f"{jars}/*"]
        before = []
        if not (folder / "data/meta.properties").exists():
            identity = ["-t", self.home.cluster_id(), "-c", str(properties)]
            before.append([*program, "kafka.tools.StorageTool", "format", *identity])
        return Part(
            "kafka",
            [*program, "kafka.Kafka", str(properties)],
            self.environment(),
            port,
            ("tcp", port, ""),
            4.0,
            before,
            after,
            self.kafka,
        )

    def _redis(self) -> Part:
        server = shutil.which("redis-server")
        if server is None:
            raise MissingTool("redis-server is not installed (Debian: redis-server)")
        folder = self.home.folder / "redis"
        folder.mkdir(parents=True, exist_ok=True)
        port = self.base_port + _REDIS
        options = ["--bind", "127.0.0.1", "--port", str(port), "--dir", str(folder), "--appendonly", "yes"]
        options += ["--maxmemory-policy", "noeviction"]
        return Part("redis", [server, *options], {}, port, ("redis", port, ""), 1.5, [], [], self.redis)


_DRAIN_SECONDS = "0.5"
"""Ctrl-C ends everything within 10 s; there are few sessions on one machine."""

_SERVER_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
log.dirs={folder}/data
auto.create.topics.enable=false
message.max.bytes=8388608
replica.fetch.max.bytes=8388608
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1500
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=300
num.network.threads=2
num.io.threads=4
offsets.topic.num.partitions=4
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
"""
