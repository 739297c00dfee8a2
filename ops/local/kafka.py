"""Kafka of the local stack: its program. ops/local/brokers.py has its properties.

    python -m ops.local.kafka

lets it run once and keeps the classes that it loads in an archive beside its jars (Java's CDS).
With that it listens after 2 s instead of 3, as Kafka's own image does. A JVM ignores an archive
that another JVM or other jars have made.

Kafka's jars bring no backend for their logging, so Kafka's log here holds only what the JVM itself
writes. What is wrong with Kafka, `messenger local status` and its clients' logs say.
"""

import os
import shlex
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ops.local.brokers import Broker, kafka_properties
from ops.local.process import die_with_parent
from ops.local.tools import MissingTool, find_tool

_REPOSITORY = Path(__file__).resolve().parents[2]
_JVM = (
    "-XX:+UseSerialGC -XX:MaxTenuringThreshold=1 -XX:+UseTransparentHugePages"
    " -XX:TieredStopAtLevel=1 -XX:-UsePerfData"
)
"""A young JVM costs 2-3.5 times a warm one; without its second compiler it starts cheaply. What
lives, lives long: a collection does not copy it again and again, and pauses half as long. In pages
of 2 MiB the broker takes a tenth less CPU. UsePerfData would wake a thread every 50 ms. Benchmarks
set their own."""
_HEAP, _SMALL_HEAP = "-Xmx512m -Xms256m", "-Xmx256m -Xms128m"
"""Of a broker alone, and of one of several."""
_STOP_SECONDS = 60.0


def serve(properties: Path, alone: bool = True) -> list[str]:
    """The command that runs a broker, alone or one of several. Raises MissingTool."""
    heap = _HEAP if alone else _SMALL_HEAP
    return [*_java(_archived(), heap), "kafka.Kafka", str(properties)]


def format_data(properties: Path, cluster_id: str, more: Sequence[str] = ()) -> list[str]:
    """The command that makes its data folder, once. Raises MissingTool."""
    return [
        *_java(_archived()),
        "kafka.tools.StorageTool",
        "format",
        "-t",
        cluster_id,
        "-c",
        str(properties),
        *more,
    ]


def _jars() -> Path:
    return Path(os.environ.get("MESSENGER_KAFKA_LIB", _REPOSITORY / ".local/kafka/lib"))


def _archive() -> Path:
    return _jars().with_name("classes.jsa")


def _archived() -> list[str]:
    return [f"-XX:SharedArchiveFile={_archive()}"] if _archive().exists() else []


def _java(flags: Sequence[str], heap: str = _HEAP) -> list[str]:
    java = find_tool("java", ": a JRE of version 17 or later (Debian: default-jre-headless)")
    jars = _jars()
    if not any(jars.glob("kafka_*.jar")):
        raise MissingTool(
            f"no Kafka jars in {jars}: `make run` fetches them (Debian: install maven first)"
        )
    return [
        java,
        *shlex.split(os.environ.get("MESSENGER_KAFKA_JVM", f"{heap} {_JVM}")),
        *flags,
        "-cp",
        f"{jars}/*",
    ]


def archive_classes() -> None:
    """Raises MissingTool, SubprocessError."""
    made = _archive().with_suffix(".new")
    port, controller = _free_ports(2)
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "log").open("wb") as log:
        properties = Path(folder) / "server.properties"
        broker = Broker("kafka", 1, port, controller, Path(folder))
        properties.write_text(kafka_properties(broker, [broker]))
        subprocess.run(format_data(properties, "A" * 22), check=True, stdout=log, stderr=log)
        command = [*_java([f"-XX:ArchiveClassesAtExit={made}"]), "kafka.Kafka", str(properties)]
        with subprocess.Popen(command, stdout=log, stderr=log, preexec_fn=die_with_parent) as kafka:
            try:
                create = [sys.executable, "-m", "ops", "topics", "create", "--wait", "60"]
                environment = {
                    **os.environ,
                    "MESSENGER_KAFKA": broker.address,
                    "MESSENGER_LOCAL": "1",
                }
                subprocess.run(create, check=True, env=environment, stdout=log, stderr=log)
                kafka.terminate()
                kafka.wait(_STOP_SECONDS)
            finally:
                kafka.kill()
    made.replace(_archive())


def _free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


if __name__ == "__main__":
    archive_classes()
