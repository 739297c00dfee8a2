-- When messages were delivered and read: one row each time a receipt raised a user's cursor of a
-- conversation, however far.
-- Blocks: no (makes a new, empty table, and views)

-- kind: 'delivered': a device of the user has received all messages up to `up_to`; 'read': the
--   person has read them.
-- time: the broker's time of the receipt that raised the cursor. Of repeated rows the earliest time
--   counts.
CREATE TABLE IF NOT EXISTS archive.cursors
(
    conversation String CODEC(ZSTD(1)),
    user String CODEC(ZSTD(1)),
    kind LowCardinality(String) CODEC(ZSTD(1)),
    up_to UInt64 CODEC(Delta(8), ZSTD(1)),
    time SimpleAggregateFunction(min, DateTime64(3, 'UTC')) CODEC(ZSTD(1))
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(time)
ORDER BY (conversation, user, kind, up_to)
SETTINGS index_granularity = 1024, non_replicated_deduplication_window = 1000,
    fsync_after_insert = 1, fsync_part_directory = 1;

-- after: where the cursor was before, so the row covers the messages after + 1 .. up_to. A repeated
-- row may have a time in another month, so this view merges across months.
CREATE VIEW IF NOT EXISTS archive.exact_cursors AS
SELECT
    conversation,
    user,
    kind,
    lagInFrame(up_to) OVER (PARTITION BY conversation, user, kind ORDER BY up_to) AS after,
    up_to,
    time
FROM archive.cursors FINAL
SETTINGS do_not_merge_across_partitions_select_final = 0;

-- When the messages sent from `since` to before `until` were delivered and read: the earliest time
-- of a cursor of the recipient that reaches the message, NULL if there is none (yet). A cursor
-- 'read' also counts as 'delivered'. A cursor that was raised before the message was sent was a
-- claim of a device, so its time says nothing. Cursors are read without FINAL, since a repeated row
-- does not change the earliest time.
-- It is a window, not a join: for one conversation ClickHouse reads both tables by key. to_first
-- (the message goes to the first member) and kind are small, because all rows are sorted in memory.
CREATE VIEW IF NOT EXISTS archive.message_times_between AS
WITH splitByChar(':', conversation) AS members
SELECT
    conversation,
    seq,
    members[if(to_first, 2, 1)] AS sender,
    members[if(to_first, 1, 2)] AS recipient,
    time AS sent,
    if(first_received >= sent, first_received, read) AS delivered,
    if(first_read >= sent, first_read, NULL) AS read
FROM
(
    SELECT
        conversation,
        to_first,
        seq,
        kind,
        time,
        minIf(time, kind != 0) OVER reaching AS first_received,
        minIf(time, kind = 2) OVER reaching AS first_read
    FROM
    (
        SELECT
            conversation,
            NOT startsWith(conversation, concat(sender, ':')) AS to_first,
            seq,
            toUInt8(0) AS kind,
            time
        FROM archive.exact_messages
        WHERE time >= {since:DateTime64(3, 'UTC')} AND time < {until:DateTime64(3, 'UTC')}
        UNION ALL
        SELECT
            conversation,
            startsWith(conversation, concat(user, ':')) AS to_first,
            up_to AS seq,
            if(kind = 'read', 2, 1) AS kind,
            CAST(time AS DateTime64(3, 'UTC')) AS time
        FROM archive.cursors
        WHERE time >= {since:DateTime64(3, 'UTC')}
    )
    WINDOW reaching AS (PARTITION BY conversation, to_first ORDER BY seq DESC)
)
WHERE kind = 0;

CREATE VIEW IF NOT EXISTS archive.message_times AS
SELECT conversation, seq, sender, recipient, sent, delivered, read
FROM archive.message_times_between(since = '1970-01-01 00:00:00', until = '2200-01-01 00:00:00');
