-- The archive: every message of the conversation log, once if read with FINAL.
-- Blocks: no (makes new, empty tables)

-- version: 0 for the message, 1 for its erasure (same conversation, seq and time, empty body).
--   The highest version stays.
-- time: the message's log time, so a repeated row falls into the same partition.
-- log_partition, log_offset: the record of topic `messages` from which the row was made. Repeated
--   rows may name different records.
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
SETTINGS index_granularity = 1024, non_replicated_deduplication_window = 1000,
    fsync_after_insert = 1, fsync_part_directory = 1;

-- submitted: Kafka's topic id of `messages.submitted`. It names the numbering to which every
-- (conversation, seq) of the archive belongs. There is one row.
CREATE TABLE IF NOT EXISTS archive.numbering
(
    submitted String,
    since DateTime DEFAULT now()
)
ENGINE = ReplacingMergeTree(since)
ORDER BY submitted;
