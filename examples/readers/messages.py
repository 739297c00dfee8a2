"""Prints every message of the log once, as JSON lines, up to where the log ends now.

    python messages.py HOST:PORT [KEY=VALUE ...]     # e.g. sasl.username=reports

It needs confluent-kafka and a msgpack library (here msgspec), and nothing of the messenger's code.
docs/KAFKA.md explains it. Exit code 1: a part of the log is missing.
"""

import json
import sys

from confluent_kafka import Consumer, TopicPartition
from msgspec import msgpack

servers, *more = sys.argv[1:]
consumer = Consumer(
    {"bootstrap.servers": servers, "group.id": "unused", "enable.auto.commit": False}
    | dict(pair.split("=", 1) for pair in more)
)
ends, places, r = {}, [], {}  # r: partition -> the last input offset whose messages are printed
for partition in consumer.list_topics("messages", 10).topics["messages"].partitions:
    start, end = consumer.get_watermark_offsets(TopicPartition("messages", partition))
    if start < end:
        ends[partition] = end
        places.append(TopicPartition("messages", partition, start))
consumer.assign(places)
ahead = {}  # partition -> the end of what has come without what is before it
while ends:
    record = consumer.poll(60)
    if record is None or record.error():
        sys.exit(f"Kafka: {record and record.error()}")
    partition = record.partition()
    if record.offset() + 1 >= ends.get(partition, 0):
        ends.pop(partition, None)
    version, _, first, to, _, _, _, _, taken, *_ = msgpack.decode(record.value())
    if version > 1:
        sys.exit(f"record {partition}/{record.offset()} is of version {version}")
    position = r.setdefault(partition, first - 1)
    if first > position + 1:
        ahead[partition] = to  # what is missing follows later in the log, and this once more
        continue
    for offset, time, conversation, sender, device, _, _, key, seq, _, body, *rest in taken:
        if offset > position and seq:  # seq 0: refused, no message
            message = {"conversation": conversation, "seq": seq, "sender": sender}
            message |= {"device": device, "key": key.hex(), "time": time, "body": body}
            message["changes"] = rest[0][0] if rest and rest[0] else 0
            print(json.dumps(message, ensure_ascii=False))
    r[partition] = max(position, to)
sys.exit(any(to > r[partition] for partition, to in ahead.items()))
