-- For which topics, and how many partitions of them, the archive's messages were numbered.
-- Blocks: no (makes a new, empty table)

-- submitted, log: Kafka's topic ids of `messages.submitted` and `messages`.
-- partitions: how many each has. An archiver that is told another number halts: with another
--   number the same (conversation, seq) may be another message.
-- fold_version: the highest that the archiver which said it knew. Rows do not depend on it.
CREATE TABLE IF NOT EXISTS archive.made_for
(
    submitted String,
    log String,
    partitions UInt32,
    fold_version UInt32,
    since DateTime DEFAULT now()
)
ENGINE = ReplacingMergeTree(since)
ORDER BY (submitted, log, partitions, fold_version);
