"""What was made for another number of partitions is not used, and what follows another leader's
records is looked at first (R3.5, R3.6)."""

import zlib

import pytest

from agents.rules.folded_input import FoldedInput
from connectors.kafka.memory import MemoryKafka
from connectors.kafka.memory_broker import MemoryBroker
from connectors.kafka.numbering import LogDiffers, require_partitions
from connectors.kafka.ports import KafkaUnreachable
from connectors.kafka.record import Record
from connectors.kafka.start_checks import ask_until
from schemas.codec import encode_event
from schemas.events import SCHEMA_VERSION, LogRecord, Taken
from schemas.ids import partition_of
from schemas.topics import LOG

NAME = next(
    name
    for name in (f"alice:bob{n}" for n in range(100))
    if (partition_of(name, 4), partition_of(name, 8)) == (2, 6)
)


def entry(partitions: int, taken: bool = True) -> bytes:
    item = Taken(0, 1, NAME, "alice", "phone", bytes(16), 1, bytes(16), 1, 0, "hi")
    return encode_event(LogRecord(SCHEMA_VERSION, 1, 0, 0, 1, -1, 0, 0, [item] * taken, partitions))


def kafka(*values: bytes) -> MemoryKafka:
    """With 8 partitions; partition 2 of the log has these records."""
    broker = MemoryBroker({LOG: 8})
    for value in values:
        broker.append(LOG, 2, value)
    return MemoryKafka(broker)


async def test_a_log_says_for_how_many_partitions_it_was_made() -> None:
    reader = kafka(entry(4)).reader()
    assert require_partitions(reader, 4)
    with pytest.raises(LogDiffers, match=r"was made for 4 partitions, and .* is 8"):
        require_partitions(reader, 8)


async def test_a_log_of_an_older_version_tells_by_where_its_conversations_are() -> None:
    reader = kafka(entry(0)).reader()
    assert not require_partitions(reader, 4)
    with pytest.raises(LogDiffers, match=f"{NAME} in partition 2, and of 8 partitions .* to 6"):
        require_partitions(reader, 8)


async def test_a_log_that_has_or_says_nothing_is_of_any_number() -> None:
    for values in ((), (entry(0, taken=False),), (b"\x92\x63\x01",), (b"garbage",)):
        assert not require_partitions(kafka(*values).reader(), 8)


async def test_a_partition_without_a_leader_is_passed_over() -> None:
    cluster = kafka(entry(4))
    cluster.broker.lose_leader(LOG, 0)
    with pytest.raises(LogDiffers):
        require_partitions(cluster.reader(0.1), 8)
    cluster.broker.lose_leader(LOG, 2)
    assert not require_partitions(cluster.reader(0.1), 8)


async def test_a_log_for_which_nobody_answers_is_not_taken_for_one_that_says_nothing() -> None:
    cluster = kafka(entry(4))
    for number in range(8):
        cluster.broker.lose_leader(LOG, number)
    with pytest.raises(KafkaUnreachable, match="nobody answers for the log"):
        require_partitions(cluster.reader(0.1), 8)


async def test_partitions_without_a_leader_yet_are_asked_again() -> None:
    """A topic that was just created refuses at once: a fresh stack did not start."""
    cluster = kafka(entry(8, taken=False))
    for number in range(8):
        cluster.broker.lose_leader(LOG, number)
    asked = list[int]()

    def ask() -> bool:
        asked.append(1)
        if len(asked) == 4:
            cluster.broker.find_leader(LOG, 2)
        return require_partitions(cluster.reader(0.1), 8)

    assert ask_until(ask, 60.0)
    assert len(asked) == 4
    cluster.broker.lose_leader(LOG, 2)
    with pytest.raises(KafkaUnreachable):
        ask_until(ask, 0.0)


def test_only_another_leaders_record_is_asked_about() -> None:
    folded = FoldedInput(5, 1000, zlib.crc32(b"five"), epoch=3)
    five = Record(0, 5, 1000, b"five", 3)
    assert folded.joins(Record(0, 6, 1001, b"six", 3))
    six = Record(0, 6, 1001, b"six", 4)
    assert not folded.joins(six)
    asked = folded.ask(six)
    assert not asked.joins(six)
    for other in (Record(0, 5, 1001, b"five", 4), Record(0, 5, 1000, b"other", 4)):
        assert "is not the one that was folded" in (asked.differs(other) or "")
    assert asked.differs(five) is None
    assert asked.differs(None) is None  # expired
    assert asked.confirmed().joins(six)
    assert not asked.confirmed().joins(Record(0, 6, 1001, b"six", 5))
    assert folded.confirmed() == folded


def test_what_is_not_known_is_not_asked_about() -> None:
    assert FoldedInput(-1, 0, 0, epoch=3).joins(Record(0, 0, 1, b"", 4))
    assert FoldedInput(5, 0, 0, epoch=-1).joins(Record(0, 6, 1, b"", 4))
    assert FoldedInput(-1, 0, 0, epoch=-1).differs(Record(0, 0, 1, b"", 4)) is None
