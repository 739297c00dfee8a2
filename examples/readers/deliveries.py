"""Takes a gateway's slot and prints the frames for one device, as a gateway would write them to it.

    python deliveries.py HOST:PORT redis://HOST:PORT/0 SLOTS USER DEVICE

It needs confluent-kafka, redis and a msgpack library (here msgspec), and nothing of the messenger's
code. docs/KAFKA.md explains it. It shows messages and answers only, and has no session that an
earlier one could replace: a gateway must do more. It ends by SIGINT, or when its slot is lost.
"""

import sys
import time
import uuid

import redis
from confluent_kafka import Consumer, Producer, TopicPartition
from msgspec import msgpack

RENEW = "return redis.call('GET', KEYS[1]) == ARGV[1] and redis.call('PEXPIRE', KEYS[1], 5000)"

servers, address, slots, user, device = sys.argv[1:]
node, store = uuid.uuid4().hex[:12], redis.Redis.from_url(address)
free = (n for n in range(int(slots)) if store.set(f"slot:{n}", node, nx=True, px=5000))
slot = next(free, None)
if slot is None:
    sys.exit("all slots are taken")
renew = store.register_script(RENEW)

# Say in the slot that it is taken, and read from there on. Only then write the route.
told = []
producer = Producer({"bootstrap.servers": servers, "acks": "all"})
taken = msgpack.encode([1, [[7, node]]])
producer.produce("deliveries", taken, partition=slot, on_delivery=lambda *found: told.append(found))
producer.flush(5)
if not told or told[0][0] or not renew([f"slot:{slot}"], [node]):
    sys.exit(f"slot {slot} could not be taken: {told}")
consumer = Consumer({"bootstrap.servers": servers, "group.id": "unused"})
consumer.assign([TopicPartition("deliveries", slot, told[0][1].offset() + 1)])
seconds, microseconds = store.time()
store.hset(f"routes:{user}", device, f"{node} {slot} {seconds * 1000 + microseconds // 1000}")
store.expire(f"routes:{user}", 86400)
print(f"slot {slot}", flush=True)  # now the device must ask for what it has missed

written = {}  # conversation -> the highest seq that was written to the device
renewed = time.monotonic()
while True:
    record = consumer.poll(0.5)
    if time.monotonic() > renewed + 1:
        renewed = time.monotonic()
        if not renew([f"slot:{slot}"], [node]):
            sys.exit("the slot is lost")
    if record is None:
        continue
    if record.error():
        sys.exit(f"Kafka: {record.error()}")
    version, events, *_ = msgpack.decode(record.value())
    for kind, *event in events:
        if kind == 0:  # MessageDelivered
            conversation, seq, sender, sent_by, users, frame, *_ = event
            ours = user in users and (sender, sent_by) != (user, device)
            if ours and seq > written.get(conversation, 0):
                written[conversation] = seq
                print(frame.decode(), flush=True)
        elif kind == 1 and event[:2] == [user, device]:  # AnswerDelivered
            print(event[2].decode(), flush=True)
        elif kind == 7 and event[0] != node:  # SlotTaken
            sys.exit("another node has the slot")
        elif kind == 8 or version > 1:  # DeliveriesMissed
            print("now the device must ask", flush=True)
