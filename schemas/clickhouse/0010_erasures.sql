-- Who has erased messages, when, why, and which.
-- Blocks: no (makes a new, empty table)

-- id: one for each run of `messenger erase`. what: "message", "conversation" or "user", and the name.
-- messages: how many this run has erased so far. The highest counts.
CREATE TABLE IF NOT EXISTS archive.erasures
(
    id String,
    began DateTime64(3, 'UTC'),
    who String,
    reason String,
    what String,
    messages UInt64
)
ENGINE = ReplacingMergeTree(messages)
ORDER BY (began, id)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;
