-- The archive: every message of the conversation log, once after FINAL.
-- Blocks: no (makes new, empty tables)

-- version: 0 the message, 1 its erasure (same conversation, seq and time, empty body): the highest version stays.
-- time: the message's own log time, so that a repeat falls into the same partition.
-- log_partition, log_offset: the record of topic `messages` that brought the row; repeats may name another record.
CREATE TABLE IF NOT EXISTS archive.messages
(
    conversation String CODEC(ZSTD(1)),
    seq UInt64 CODEC(Delta(8), ZSTD(1)),
    key FixedString(16) CODEC(ZSTD(1)),
    sender String CODEC(ZSTD(1)),
    device String CODEC(ZSTD(1)),
    body String CODEC(ZSTD(3)),
    time DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
    version UInt8 CODEC(ZSTD(1)),
    log_partition UInt16 CODEC(ZSTD(1)),
    log_offset UInt64 CODEC(Delta(8), ZSTD(1))
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(time)
ORDER BY (conversation, seq)
SETTINGS index_granularity = 1024, non_replicated_deduplication_window = 1000, fsync_after_insert = 1, fsync_part_directory = 1;

-- Kafka's topic id of `messages.submitted`: it names the numbering that (conversation, seq) belong to; there is one row.
CREATE TABLE IF NOT EXISTS archive.numbering
(
    submitted String,
    since DateTime DEFAULT now()
)
ENGINE = ReplacingMergeTree(since)
ORDER BY submitted;
