"""What a stage with a table sees of the outside, on Kafka and Redis in memory."""

from collections.abc import Callable

from connectors.kafka.memory import MemoryKafka
from connectors.redis.memory import MemoryOwners
from connectors.redis.memory_server import MemoryRedis
from streams.slot_sender import SlotSender
from streams.table_partition import Table, TableIO


def memory_table_io(
    kafka: MemoryKafka,
    redis: MemoryRedis,
    group: str,
    changelog: str,
    open_table: Callable[[int], Table],
) -> TableIO[Table]:
    producer = kafka.producer({"message.timeout.ms": 0})
    return TableIO(
        kafka,
        producer,
        SlotSender(producer),
        MemoryOwners(redis, group),
        open_table,
        group,
        changelog,
        "here",
    )
