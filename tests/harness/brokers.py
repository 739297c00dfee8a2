"""The brokers of a stack with several: who leads what, whether all have everything, and what an
accident or an operator may do to one of them."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.protocol.admin import AlterPartitionReassignmentsRequest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from tests.harness.stack import Stack

_ASK_SECONDS = 3.0
_LOOK_SECONDS = 0.1


class Replicas(NamedTuple):
    """Of one partition: broker numbers. `leader` is -1 while nobody leads."""

    leader: int
    replicas: Sequence[int]
    insync: Sequence[int]


class Brokers:
    """`number` is a broker's node id: 1, 2, 3."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self.numbers = list(range(1, stack.brokers + 1))

    def name(self, number: int) -> str:
        return f"kafka-{number}"

    def data(self, number: int) -> Path:
        return self._stack.home / self.name(number) / "data"

    def kill(self, number: int, how: signal.Signals = signal.SIGKILL) -> None:
        self._stack.kill(self.name(number), how)

    def pause(self, number: int) -> None:
        self.kill(number, signal.SIGSTOP)

    def wake(self, number: int) -> None:
        self.kill(number, signal.SIGCONT)

    def lose_disk(self, number: int, small: int | None = None) -> None:
        """The broker dies, and when it is started again it has a new disk: a `small` one of so many
        MiB, or the one that its folder is on."""
        data = self.data(number)
        self.pause(number)
        if data.is_mount():
            subprocess.run(["umount", "--lazy", str(data)], check=True)
        shutil.rmtree(data)
        if small is not None:
            data.mkdir()
            options = ["-t", "tmpfs", "-o", f"size={small}m", "tmpfs"]
            subprocess.run(["mount", *options, str(data)], check=True)
        self.kill(number)

    def controller(self) -> int:
        """The broker whose controller is the active one, by the newest of their own notes. (What
        Kafka's metadata call the controller is any broker.)"""
        notes = []
        for number in self.numbers:
            file = self.data(number) / "__cluster_metadata-0" / "quorum-state"
            with contextlib.suppress(FileNotFoundError, json.JSONDecodeError):
                notes.append(json.loads(file.read_text()))
        return int(max(notes, key=lambda note: note["leaderEpoch"])["leaderId"])

    def partitions(self) -> Mapping[tuple[str, int], Replicas]:
        """(topic, partition) → its replicas. Raises KafkaException while nobody answers."""
        admin = AdminClient({"bootstrap.servers": self._stack.kafka, "log_level": 0})
        topics = admin.list_topics(timeout=_ASK_SECONDS).topics
        return {
            (name, number): Replicas(one.leader, one.replicas, one.isrs)
            for name, topic in topics.items()
            for number, one in topic.partitions.items()
        }

    def leader(self, topic: str, partition: int) -> int:
        return self.partitions()[topic, partition].leader

    def lacking(self) -> list[str]:
        """Partitions that lack a leader or a replica in step; all of them while nobody answers."""
        try:
            found = self.partitions()
        except KafkaException as error:
            return [str(error)]
        return [
            f"{topic}/{number}: {one}"
            for (topic, number), one in found.items()
            if one.leader < 0 or set(one.insync) != set(one.replicas)
        ]

    async def missed(self, timeout: float = 120) -> None:
        """Wait until Kafka itself has noticed that a broker is gone. Before, it says that all have
        everything."""
        async with asyncio.timeout(timeout):
            while not await asyncio.to_thread(self.lacking):
                await asyncio.sleep(_LOOK_SECONDS)

    async def whole(self, timeout: float = 120) -> None:
        """Wait until every broker has everything."""
        until = time.monotonic() + timeout
        while lacking := await asyncio.to_thread(self.lacking):
            assert time.monotonic() < until, lacking[:5]
            await asyncio.sleep(_LOOK_SECONDS)

    async def move(self, topic: str, partition: int, replicas: Sequence[int]) -> None:
        """Have a partition on these brokers and no others; returns when it is so."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self._stack.kafka)
        await admin.start()
        try:
            request: Any = AlterPartitionReassignmentsRequest(
                10_000, [(topic, [(partition, list(replicas), {})], {})], {}
            )
            answer = await admin._send_request(request)
            assert answer.error_code == 0, answer
            assert answer.responses[0][1][0][1] == 0, answer
        finally:
            await admin.close()
        async with asyncio.timeout(60):
            while True:
                found = await asyncio.to_thread(self.partitions)
                if set(found[topic, partition].replicas) == set(replicas):
                    return
                await asyncio.sleep(_LOOK_SECONDS)


def may_mount() -> bool:
    """Whether this process may make file systems, which a full disk needs: by root, mostly."""
    return os.geteuid() == 0 and shutil.which("mount") is not None


@contextmanager
def full(disk: Path) -> Iterator[None]:
    """No byte is left on a disk."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"\0" * 4096)
    try:
        yield
    finally:
        ballast.unlink()
