"""A producer whose records the test acknowledges, or does not."""

from collections.abc import Callable
from typing import NamedTuple

from connectors.kafka.ports import KafkaSendError, QueueFull, Report


class Sent(NamedTuple):
    topic: str
    partition: int
    value: bytes
    report: Report | None


class SlowKafka:
    """A `Producer`: holds what was sent; `full` refuses more. `on_send` sees each record."""

    def __init__(self, on_send: Callable[[Sent], None] = lambda sent: None) -> None:
        self.sent: list[Sent] = []
        self.full = False
        self.unacknowledged = 0
        self._on_send = on_send

    def __len__(self) -> int:
        return self.unacknowledged

    def send(
        self,
        topic: str,
        partition: int,
        value: bytes,
        on_report: Report | None = None,
        key: bytes | None = None,
    ) -> None:
        if self.full:
            raise QueueFull
        self.sent.append(Sent(topic, partition, value, on_report))
        self._on_send(self.sent[-1])

    async def send_and_wait(
        self, topic: str, partition: int, value: bytes, key: bytes | None = None
    ) -> int:
        raise NotImplementedError

    async def close(self, flush_seconds: float) -> None:
        pass

    def take(self) -> list[Sent]:
        """What was sent since the last call."""
        sent, self.sent = self.sent, []
        return sent


def fail(sent: Sent) -> None:
    """Kafka has not taken the record."""
    assert sent.report is not None
    sent.report(KafkaSendError("the leader is away"), -1)
