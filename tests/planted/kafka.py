"""The faults that are planted in Kafka."""

from collections.abc import Sequence

from ops.audit.verdict import Finding, Place
from schemas.events import AnswerDelivered, Delivered, LogRecord, MessageDelivered, MessageSubmitted
from schemas.topics import DELIVERIES, LOG, SUBMITTED
from tests.planted.plant import (
    SLOT,
    Laid,
    Log,
    Plant,
    conversation_in,
    honest,
    messages,
    nothing,
    one_each,
    replace,
    told,
)


def in_log(kind: str, record: int, seq: int | None, text: str) -> "Finder":
    """A finding in the plant's record `record` of the log; `seq` None: it names no message."""
    return Finder(kind, LOG, record, seq, text)


class Finder:
    """Makes the finding, once it is known where the plant's data stands. In the text,
    {second} and {third} stand for the plant's second and third input offset."""

    def __init__(self, kind: str, topic: str, record: int, seq: int | None, text: str) -> None:
        self._kind, self._topic, self._record, self._seq, self._text = (
            kind,
            topic,
            record,
            seq,
            text,
        )

    def __call__(self, laid: Laid) -> Finding:
        first = {LOG: laid.log, SUBMITTED: laid.input, DELIVERIES: laid.delivery}[self._topic]
        place = Place(
            self._topic,
            SLOT if self._topic == DELIVERIES else laid.partition,
            first + self._record,
            "" if self._seq is None else laid.conversation,
            self._seq or 0,
        )
        return Finding(
            self._kind, place, self._text.format(second=laid.input + 1, third=laid.input + 2)
        )


STRAYED = conversation_in(1, 1_000)
"""A conversation of partition 1 that is sent to partition 0."""


def twice(conversation: str) -> list[list[MessageSubmitted]]:
    """The first send comes again."""
    return [[item] for item in messages(conversation, 1, 1, 2)]


def together(conversation: str) -> list[list[MessageSubmitted]]:
    """Three messages in one record."""
    return [messages(conversation, 1, 2, 3)]


def changed(record: LogRecord, **fields: object) -> LogRecord:
    """The log record with other content in its only message."""
    return replace(record, taken=[replace(record.taken[0], **fields)])


def without_dedupe(log: Log) -> Log:
    again = replace(log[0].taken[0], offset=log[1].to, time=log[1].time, seq=2)
    return [log[0], replace(log[1], taken=[again]), changed(log[2], seq=3)]


def swapped(log: Log) -> Log:
    first, second, third = log[0].taken
    taken = [replace(second, seq=1), replace(first, seq=2), third]
    return [replace(log[0], taken=taken)]


def out_of_nothing(log: Log) -> Log:
    last = log[2].taken[0]
    more = replace(last, seq=4, ordinal=4, key=b"k" * 16)
    return [*log[:2], replace(log[2], taken=[last, more])]


def pushed(log: Log, **fields: object) -> list[Delivered]:
    """The second message as it is delivered to its recipient, with other fields."""
    item = replace(log[1].taken[0], **fields)
    return told(item, item.conversation.split(":")[1])


def pushed_to_a_stranger(log: Log) -> Sequence[Delivered]:
    (event,) = pushed(log)
    assert isinstance(event, MessageDelivered)
    return [replace(event, users=["mallory"])]


def pushed_by_another_name(log: Log) -> Sequence[Delivered]:
    (event,) = pushed(log)
    assert isinstance(event, MessageDelivered)
    return [replace(event, seq=1)]


def answered_at_another_time(log: Log) -> Sequence[Delivered]:
    item = replace(log[1].taken[0], time=1)
    (event,) = told(item, item.sender)
    assert isinstance(event, AnswerDelivered)
    return [event]


KAFKA_PLANTS: Sequence[Plant] = (
    Plant(
        "dedupe is off: a send that comes again is numbered again",
        "ItemJudge._check_unasked",
        in_log("duplicate", 1, 2, "the message is number 1 already"),
        sent=twice,
        log=without_dedupe,
    ),
    Plant(
        "a second numbering: a conversation begins at 1 again",
        "ItemJudge._check_number",
        in_log("inconsistent-offsets", 2, 1, "by the input the message is number 3"),
        log=lambda log: [*log[:2], changed(log[2], seq=1)],
    ),
    Plant(
        "a second numbering: the log is the fold of another input",
        "PartitionJudge._check_state",
        in_log("inconsistent-offsets", 1, None, "it states another CRC of the input"),
        log=lambda log: [log[0], replace(log[1], input_crc=log[1].input_crc ^ 1), log[2]],
    ),
    Plant(
        "a second numbering: a conversation in another partition than its own",
        "PartitionJudge._check_partition",
        lambda laid: Finding(
            "inconsistent-offsets",
            Place(LOG, laid.partition, laid.log, STRAYED, 1),
            "its conversation belongs to partition 1",
        ),
        sent=lambda conversation: one_each(STRAYED),
    ),
    Plant(
        "a log of another number of partitions",
        "PartitionJudge._check_state",
        in_log("inconsistent-offsets", 1, None, "it states another number of partitions"),
        log=lambda log: [log[0], replace(log[1], partitions=9), log[2]],
    ),
    Plant(
        "a swapped pair: the second message of a sender is numbered before the first",
        "ItemJudge._check_order",
        in_log(
            "nonmonotonic-send",
            0,
            2,
            "by the input it is 1, before what stands before it here",
        ),
        sent=together,
        log=swapped,
    ),
    Plant(
        "a changed body in the log",
        "ItemJudge._check_content",
        in_log("inconsistent-offsets", 1, 2, "body is not the input's"),
        log=lambda log: [log[0], changed(log[1], body="other"), log[2]],
    ),
    Plant(
        "another key in the log",
        "ItemJudge._check_content",
        in_log("inconsistent-offsets", 1, 2, "key is not the input's"),
        log=lambda log: [log[0], changed(log[1], key=b"k" * 16), log[2]],
    ),
    Plant(
        "a message is missing in the log",
        "ItemJudge._check_missing",
        in_log(
            "lost-write",
            1,
            2,
            "the input has it at offset {second}; this record covers that, and lacks it",
        ),
        log=lambda log: [log[0], replace(log[1], taken=[]), log[2]],
    ),
    Plant(
        "a number is skipped",
        "ItemJudge._check_number",
        in_log("poll-skip", 2, 4, "by the input the message is number 3"),
        log=lambda log: [*log[:2], changed(log[2], seq=4)],
    ),
    Plant(
        "a message that nobody has sent",
        "ItemJudge._check_unasked",
        in_log("phantom", 2, 4, "the input at offset {third} does not come to it"),
        log=out_of_nothing,
    ),
    Plant(
        "a refusal instead of a number",
        "ItemJudge._check_number",
        Finder(
            "inconsistent-offsets",
            LOG,
            2,
            0,
            "it is a refusal with code 111; by the input it is number 3",
        ),
        log=lambda log: [*log[:2], changed(log[2], seq=0, code=111, body="")],
    ),
    Plant(
        "a late append with other content",
        "PartitionJudge._check_again",
        in_log("inconsistent-offsets", 3, 1, "it is in the log again with other content"),
        log=lambda log: [*log, changed(log[0], body="other")],
    ),
    Plant(
        "a record of the log that nobody can read",
        "PartitionJudge._check_readable",
        in_log(
            "phantom",
            3,
            None,
            "no log record: RECORD_UNREADABLE: Expected `array`, got `int`",
        ),
        log=lambda log: [*log, b"g"],
    ),
    Plant(
        "a repeated delivery with other content",
        "Claims._check_content",
        Finder("inconsistent-offsets", DELIVERIES, 1, 2, "it is delivered with other content"),
        delivered=lambda log: [*pushed(log), *pushed(log, body="other")],
    ),
    Plant(
        "a delivery with a number that no message has",
        "Claims._check_never",
        Finder("phantom", DELIVERIES, 0, 99, "it is delivered; the input does not come to it"),
        delivered=lambda log: pushed(log, seq=99),
    ),
    Plant(
        "a delivery to somebody who is no member",
        "DeliveryJudge._check_address",
        Finder("phantom", DELIVERIES, 0, 2, "it is delivered to people who are no members"),
        delivered=pushed_to_a_stranger,
    ),
    Plant(
        "a delivery under the name of another message",
        "DeliveryJudge._check_address",
        Finder(
            "inconsistent-offsets",
            DELIVERIES,
            0,
            1,
            "the event says another message than its frame",
        ),
        delivered=pushed_by_another_name,
    ),
    Plant(
        "a delivery that nobody can read",
        "DeliveryJudge._check_readable",
        Finder(
            "phantom",
            DELIVERIES,
            0,
            None,
            "no delivery record: RECORD_UNREADABLE: Expected `array`, got `int`",
        ),
        delivered=lambda log: [b"g"],
    ),
    Plant(
        "a `sent` with another log time",
        "Claims._check_content",
        Finder("inconsistent-offsets", DELIVERIES, 0, 2, "it is answered with other content"),
        delivered=answered_at_another_time,
    ),
    Plant(
        "a cut tail: the log has lost what was delivered",
        "Claims._check_unlogged",
        Finder("lost-write", DELIVERIES, 0, 2, "it is delivered; the log does not come to it"),
        log=lambda log: log[:1],
        delivered=pushed,
        partition=1,
    ),
    Plant(
        "a hole in the log that never closes",
        "PartitionJudge._check_hole",
        Finder(
            "lost-write",
            SUBMITTED,
            1,
            None,
            "the log goes on to input offset {third} without this one",
        ),
        log=lambda log: [log[0], log[2]],
        partition=2,
    ),
    Plant(
        "a record of the log that covers more than was sent",
        "PartitionJudge._check_state",
        in_log("phantom", 2, None, "it covers input up to 99; there is none"),
        log=lambda log: [*log[:2], replace(log[2], to=99)],
        partition=3,
    ),
)

AS_SENT: Sequence[Plant] = [
    plant._replace(log=honest, delivered=nothing, partition=0)
    for plant in KAFKA_PLANTS
    if plant.check != "PartitionJudge._check_partition"  # its fault is in the input
]
"""The same input, of which honest workers make what they should."""
