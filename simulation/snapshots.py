"""What an outsider sees of snapshots in a Kafka in memory."""

import zlib

from agents.rules.position import FoundLog
from agents.rules.snapshots import FoundChunks, FoundSnapshot, newest_first, not_usable, not_whole
from connectors.kafka.memory_broker import MemoryBroker
from schemas.codec import NewerVersion, Undecodable, decode_snapshot
from schemas.events import SnapshotRecord
from schemas.topics import CHUNKS, LOG, SNAPSHOTS


def undamaged(broker: MemoryBroker, partition: int, partitions: int) -> list[SnapshotRecord]:
    """The snapshots from which a partition of the log, one of `partitions`, can be restored,
    newest first."""
    ids, log, chunks = broker.topic_ids(), broker.log(LOG, partition), broker.log(CHUNKS, partition)
    there = FoundChunks(ids[CHUNKS], chunks.start, chunks.end)

    def joins(record: SnapshotRecord) -> bool:
        last = log.read(record.log_offset, record.log_offset + 1)
        crc = zlib.crc32(last[0].value) if last else None
        found = FoundLog(ids[LOG], log.start, log.end, crc)
        return not not_usable(record, found, partitions)

    def has_its_chunks(record: SnapshotRecord) -> bool:
        return all(
            zlib.crc32(one.value) == place.crc
            for place in record.chunks
            for one in chunks.read(place.offset, place.offset + 1)
        )

    found = []
    for one in broker.read_all(SNAPSHOTS, partition):
        try:
            found.append(FoundSnapshot(one.offset, decode_snapshot(one.value)))
        except (NewerVersion, Undecodable):
            continue
    return [
        one.record
        for one in newest_first(found)
        if not not_whole(one.record, there) and joins(one.record) and has_its_chunks(one.record)
    ]
