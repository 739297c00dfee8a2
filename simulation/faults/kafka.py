"""Kafka, or the way to it, fails."""

import random
from functools import partial

from connectors.kafka.memory import MemoryKafka
from schemas.codec import encode_event
from schemas.events import SCHEMA_VERSION, InputSkipped, SubmittedRecord
from schemas.topics import (
    CHUNKS,
    CURSORS,
    DELIVERIES,
    LOG,
    MEMBERSHIPS,
    PEOPLE,
    PEOPLE_SUBMITTED,
    PRESENCE,
    PRESENCE_SUBMITTED,
    RECEIPTS,
    SNAPSHOTS,
    SUBMITTED,
)
from simulation.faults.common import LONG, Actions, for_a_while, parts, pick
from simulation.snapshots import undamaged
from simulation.world import World

LEADERLESS = *LONG, 35.0
"""Seconds that a partition may have no leader: the last are longer than a gateway's producer waits
for an acknowledgement."""
_AHEAD_MS = 2 * 3600 * 1000
BROKERS = 3
SESSIONS = 1.5, 2.0, 4.0
"""Seconds until the others have noticed that a broker is gone, and have chosen other leaders."""
TOPICS = (
    SUBMITTED,
    LOG,
    DELIVERIES,
    RECEIPTS,
    CURSORS,
    PRESENCE_SUBMITTED,
    PRESENCE,
    MEMBERSHIPS,
    SNAPSHOTS,
    CHUNKS,
    PEOPLE_SUBMITTED,
    PEOPLE,
)


def stop_kafka(world: World, place: int, number: int) -> str:
    world.broker.stop()
    return for_a_while(world, number, world.broker.go_on)


def lose_leader(world: World, place: int, number: int) -> str:
    topic = pick(TOPICS, place)
    count = world.shape.slots if topic == DELIVERIES else world.shape.partitions
    partition = number // len(LEADERLESS) % count
    world.broker.lose_leader(topic, partition)
    found = partial(world.broker.find_leader, topic, partition)
    lasts = for_a_while(world, number, found, LEADERLESS)
    return f"{topic}/{partition} {lasts}"


def change_leader(world: World, place: int, number: int) -> str:
    """Another broker leads a partition; the last one takes with it what it had not acknowledged."""
    topic = pick(TOPICS, place)
    count = world.shape.slots if topic == DELIVERIES else world.shape.partitions
    partition = number % count
    world.broker.change_leader(topic, partition)
    return f"{topic}/{partition}"


def lose_broker(world: World, place: int, number: int) -> str:
    """One of three brokers is gone. Nothing is written until its session is over; what it led has
    another leader then."""
    seconds = pick(SESSIONS, number)
    _lose_brokers(world, {place % BROKERS}, seconds)
    return f"broker {place % BROKERS + 1}, noticed after {seconds:g} s"


def lose_two_brokers(world: World, place: int, number: int) -> str:
    """Two of three brokers are away: what they led nobody leads, and nothing is written."""
    seconds = pick(LEADERLESS, number)
    _lose_brokers(world, {place % BROKERS, (place + 1) % BROKERS}, seconds)
    return f"all but broker {(place + 2) % BROKERS + 1}, for {seconds:g} s"


def _lose_brokers(world: World, away: set[int], seconds: float) -> None:
    broker = world.broker
    led = [at for turn, at in enumerate(broker.places()) if turn % BROKERS in away]
    for at in broker.places():
        broker.lose_replicas(*at)
    for at in led:
        broker.lose_leader(*at)

    def find() -> None:
        for at in led:
            broker.find_leader(*at)
        for at in broker.places():
            broker.find_replicas(*at)

    world.loop.call_later(seconds, find, context=world.context)


def break_producers(world: World, place: int, number: int) -> str:
    part = pick(parts(world), place)
    part.kafka.break_producers(random.Random(number))
    return part.name


def cut_from_kafka(world: World, place: int, number: int) -> str:
    part = pick(parts(world), place)
    kafka: MemoryKafka = part.kafka
    sends, hears = number % 3 == 1, number % 3 == 2
    kafka.cut(sends=sends, hears=hears)
    what = "what it sends still arrives" if sends else "it still hears" if hears else "both ways"
    return f"{part.name}, {what}, {for_a_while(world, number // 3, kafka.mend)}"


def fill_producers(world: World, place: int, number: int) -> str:
    part = pick(parts(world), place)
    kafka: MemoryKafka = part.kafka
    kafka.full = True
    return f"{part.name} {for_a_while(world, number, lambda: setattr(kafka, 'full', False))}"


def expire_deliveries(world: World, place: int, number: int) -> str:
    slot = place % world.shape.slots
    end = world.broker.log(DELIVERIES, slot).end
    world.broker.expire(DELIVERIES, slot, end)
    return f"slot {slot} before offset {end}"


def write_garbage(world: World, place: int, number: int) -> str:
    """Somebody writes what no decoder reads into the input."""
    value = pick((b"", b"garbage", b"\x92\x01\x91\x91\xa1?"), number)
    partition = place % world.shape.partitions
    offset = world.broker.append(SUBMITTED, partition, value)
    return f"{SUBMITTED}/{partition} at offset {offset}"


def write_ahead(world: World, place: int, number: int) -> str:
    """A broker whose clock is two hours ahead takes a record, and halts a partition. After a while
    an operator sets the record aside."""
    world.accepted.append("is more than an hour ahead")
    partition = place % world.shape.partitions
    log = world.broker.log(SUBMITTED, partition)
    offset = log.append(world.broker.now() + _AHEAD_MS, b"garbage", None)
    world.judge.set_aside(partition, offset)
    log.poke()

    def decide() -> None:
        skipped = InputSkipped(offset, offset, "operator", "the clock was wrong", 0)
        value = encode_event(SubmittedRecord(SCHEMA_VERSION, [skipped]))
        world.broker.append(SUBMITTED, partition, value)

    return f"{SUBMITTED}/{partition} at offset {offset}, {for_a_while(world, number, decide)}"


def cut_log(world: World, place: int, number: int) -> str:
    """The log loses its tail, as when a disk lost it; the input still has it."""
    world.accepted.append("has lost its tail")
    partition, records = place % world.shape.partitions, 1 + number % 3
    log = world.broker.log(LOG, partition)
    if log.start:  # it must join a snapshot
        usable = undamaged(world.broker, partition, world.shape.partitions)
        joins = min((record.log_offset + 1 for record in usable), default=log.end)
        records = min(records, log.end - joins)
    world.broker.cut_tail(LOG, partition, records)
    return f"{LOG}/{partition}, {records} records"


def lose_acknowledged(world: World, place: int, number: int) -> str:
    """The input gets a leader that lacks what its predecessor had acknowledged, as if one in-sync
    replica were enough: what Kafka is told never to do."""
    world.accepted += ["is not the one that was folded", "its tail was lost"]
    partition, records = place % world.shape.partitions, 1 + number % 3
    world.broker.cut_tail(SUBMITTED, partition, records)
    return f"{SUBMITTED}/{partition}, {records} records"


def recreate_memberships(world: World, place: int, number: int) -> str:
    """The topic is created again, empty, while nobody runs its stage, as docs/OPERATIONS.md has
    it."""
    for worker in world.workers:
        if "memberships" in worker.stages:
            worker.kill()
    world.broker.recreate(MEMBERSHIPS)
    return MEMBERSHIPS


def compact(world: World, place: int, number: int) -> str:
    topic = pick((CURSORS, PRESENCE, MEMBERSHIPS), place)
    world.broker.compact(topic)
    return topic


KAFKA: Actions = {
    "stop kafka": (1, stop_kafka),
    "lose leader": (2, lose_leader),
    "change leader": (2, change_leader),
    "lose broker": (2, lose_broker),
    "lose two brokers": (1, lose_two_brokers),
    "break producers": (2, break_producers),
    "cut from kafka": (2, cut_from_kafka),
    "fill producers": (1, fill_producers),
    "expire deliveries": (1, expire_deliveries),
    "compact": (1, compact),
    "recreate memberships": (1, recreate_memberships),
    "write garbage": (1, write_garbage),
    "cut log": (1, cut_log),
    "write ahead": (1, write_ahead),
    "lose acknowledged": (0, lose_acknowledged),  # nobody can heal that
}
