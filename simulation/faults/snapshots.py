"""The log loses its head, snapshots are damaged, and workers lose their disks all at once (R8).

A partition can be restored as long as one snapshot is undamaged and joins the log. No step takes
the last one away: that is what a partition halts for, and an operator mends.
"""

from agents.sequencer.stage import GROUP
from connectors.kafka.record import Record
from schemas.codec import decode_log
from schemas.topics import CHUNKS, LOG, SNAPSHOTS, SUBMITTED
from simulation.faults.common import Actions
from simulation.snapshots import undamaged
from simulation.world import World


def expire_log(world: World, place: int, number: int) -> str:
    """Of the log what two snapshots have, everybody was told of, and the archive has."""
    partition = place % world.shape.partitions
    if LOG not in world.inputs().values():
        return f"{LOG}/{partition}, which nobody archives"
    usable = undamaged(world.broker, partition, world.shape.partitions)
    if not usable:
        return f"{LOG}/{partition}, of which there is no snapshot"
    before = usable[:2][-1].log_offset + 1
    for group, topic in world.inputs().items():
        if topic == LOG:
            before = min(before, world.broker.committed(group, LOG, partition) or 0)
    told = world.broker.committed(GROUP, SUBMITTED, partition) or 0
    log = world.broker.log(LOG, partition)
    for record in log.read(log.start, before):
        if decode_log(record.value).to >= told:
            before = record.offset
            break
    # A worker that sleeps for seconds has slept for a month then; the judge compares the archive.
    world.accepted.append("expired before they were archived")
    world.judge.will_expire(partition, before)
    world.broker.expire(LOG, partition, before)
    return f"{LOG}/{partition} before offset {log.start}"


def damage_snapshot(world: World, place: int, number: int) -> str:
    """The newest snapshot, if there is another: a bit of one of its records turns over."""
    partition = place % world.shape.partitions
    usable = undamaged(world.broker, partition, world.shape.partitions)
    if len(usable) < 2:
        return f"{SNAPSHOTS}/{partition}, which has no two"
    offsets = [(CHUNKS, chunk.offset) for chunk in usable[0].chunks]
    offsets += [
        (SNAPSHOTS, one.offset)
        for one in world.broker.read_all(SNAPSHOTS, partition)
        if usable[0].id.encode() in one.value
    ]
    topic, offset = offsets[number % len(offsets)]
    log = world.broker.log(topic, partition)
    (record,) = log.read(offset, offset + 1)
    value = bytearray(record.value)
    value[number % len(value)] ^= 1 << number % 8
    log.replace(Record(partition, offset, record.timestamp, bytes(value)))
    return f"{topic}/{partition} at offset {offset}"


def lose_all_disks(world: World, place: int, number: int) -> str:
    for worker in world.workers:
        worker.kill()
        worker.disk.lose()
    return "all workers"


SNAPSHOT: Actions = {
    "expire log": (3, expire_log),
    "damage snapshot": (1, damage_snapshot),
    "lose all disks": (1, lose_all_disks),
}
