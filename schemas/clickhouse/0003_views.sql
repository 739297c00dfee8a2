-- Views for data teams: exact, also where rows were inserted twice. docs/ARCHIVE.md describes them.
-- Blocks: no (views; ClickHouse makes the first counts within the hour)

CREATE VIEW IF NOT EXISTS archive.exact_messages AS
SELECT
    conversation,
    seq,
    lower(hex(key)) AS key,
    sender,
    arrayFirst(member -> member != sender, splitByChar(':', conversation)) AS recipient,
    device,
    body,
    time,
    version = 1 AS erased
FROM archive.messages FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1;

CREATE TABLE IF NOT EXISTS archive.daily_counts
(
    day Date,
    messages UInt64,
    conversations UInt64,
    senders UInt64,
    body_bytes UInt64,
    counted DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(counted)
ORDER BY day;

-- 40 days: longer than Kafka keeps the log, so late messages are counted. Older days keep their
-- last count.
CREATE MATERIALIZED VIEW IF NOT EXISTS archive.daily_feed
REFRESH EVERY 1 HOUR APPEND TO archive.daily_counts AS
SELECT
    toDate(time) AS day,
    count() AS messages,
    uniqExact(conversation) AS conversations,
    uniqExact(sender) AS senders,
    sum(length(body)) AS body_bytes,
    now64(3, 'UTC') AS counted
FROM archive.messages FINAL
WHERE time >= toStartOfDay(now('UTC') - INTERVAL 40 DAY)
GROUP BY day
SETTINGS do_not_merge_across_partitions_select_final = 1;

CREATE VIEW IF NOT EXISTS archive.daily AS
SELECT day, messages, conversations, senders, body_bytes, counted FROM archive.daily_counts FINAL;
