-- Views that answer what data teams ask first, exact although inserts repeat. docs/DATA.md describes them.
-- Blocks: no (views only)

CREATE VIEW IF NOT EXISTS archive.messages_by_hour AS
SELECT
    toStartOfHour(time) AS hour,
    count() AS messages,
    uniqExact(sender) AS senders,
    uniqExact(conversation) AS conversations
FROM archive.exact_messages
WHERE time >= {since:DateTime64(3, 'UTC')} AND time < {until:DateTime64(3, 'UTC')}
GROUP BY hour
ORDER BY hour;

CREATE VIEW IF NOT EXISTS archive.activity_by_day AS
SELECT
    toDate(time) AS day,
    count() AS messages,
    uniqExact(sender) AS senders,
    uniqExact(recipient) AS recipients,
    uniqExact(conversation) AS pairs,
    countIf(seq = 1) AS new_conversations
FROM archive.exact_messages
WHERE time >= {since:DateTime64(3, 'UTC')} AND time < {until:DateTime64(3, 'UTC')}
GROUP BY day
ORDER BY day;

-- A sender belongs to the week of the first message in the range.
CREATE VIEW IF NOT EXISTS archive.retention_by_week AS
SELECT
    cohort,
    toUInt32(intDiv(dateDiff('day', cohort, week), 7)) AS weeks_later,
    count() AS senders
FROM
(
    SELECT
        sender,
        arrayJoin(groupUniqArray(toMonday(toDate(time)))) AS week,
        toMonday(toDate(min(time))) AS cohort
    FROM archive.exact_messages
    WHERE time >= {since:DateTime64(3, 'UTC')} AND time < {until:DateTime64(3, 'UTC')}
    GROUP BY sender
)
GROUP BY cohort, weeks_later
ORDER BY cohort, weeks_later;

CREATE VIEW IF NOT EXISTS archive.latency_by_day AS
SELECT
    toDate(sent) AS day,
    count() AS messages,
    count(delivered) AS were_delivered,
    count(read) AS were_read,
    quantileExact(0.5)(dateDiff('ms', sent, delivered)) AS delivered_p50_ms,
    quantileExact(0.99)(dateDiff('ms', sent, delivered)) AS delivered_p99_ms,
    quantileExact(0.5)(dateDiff('ms', sent, read)) AS read_p50_ms,
    quantileExact(0.99)(dateDiff('ms', sent, read)) AS read_p99_ms
FROM archive.message_times_between(
    since = {since:DateTime64(3, 'UTC')}, until = {until:DateTime64(3, 'UTC')}
)
GROUP BY day
ORDER BY day;

-- An answer follows a message of the other user.
CREATE VIEW IF NOT EXISTS archive.answers_by_day AS
SELECT
    toDate(time) AS day,
    count() AS answers,
    quantileExact(0.5)(dateDiff('second', asked, time)) AS p50_seconds,
    quantileExact(0.9)(dateDiff('second', asked, time)) AS p90_seconds
FROM
(
    SELECT
        time,
        sender,
        lagInFrame(time) OVER one AS asked,
        lagInFrame(sender) OVER one AS asker
    FROM archive.exact_messages
    WHERE time >= {since:DateTime64(3, 'UTC')} AND time < {until:DateTime64(3, 'UTC')}
    WINDOW one AS (
        PARTITION BY conversation ORDER BY seq ROWS BETWEEN 1 PRECEDING AND CURRENT ROW
    )
)
WHERE asker != '' AND asker != sender
GROUP BY day
ORDER BY day;

CREATE VIEW IF NOT EXISTS archive.conversation_lengths AS
SELECT
    toUInt64(pow(2, floor(log2(length)))) AS messages_from,
    messages_from * 2 - 1 AS messages_to,
    count() AS conversations
FROM
(
    SELECT conversation, max(seq) AS length FROM archive.user_conversations GROUP BY conversation
)
GROUP BY messages_from
ORDER BY messages_from;

CREATE VIEW IF NOT EXISTS archive.repeats AS
SELECT
    month,
    sum(rows) AS rows_there,
    sum(once) AS messages,
    rows_there - messages AS repeats
FROM
(
    SELECT toYYYYMM(time) AS month, count() AS rows, 0 AS once FROM archive.messages GROUP BY month
    UNION ALL
    SELECT toYYYYMM(time) AS month, 0 AS rows, count() AS once
    FROM archive.messages FINAL GROUP BY month
)
GROUP BY month
ORDER BY month
SETTINGS do_not_merge_across_partitions_select_final = 1;

-- None, or call the operator: `messenger archive check`.
CREATE VIEW IF NOT EXISTS archive.gaps AS
SELECT
    conversation,
    min(seq) AS first,
    max(seq) AS last,
    last - first + 1 - count() AS missing
FROM archive.exact_messages
GROUP BY conversation
HAVING missing != 0;

CREATE VIEW IF NOT EXISTS archive.freshness AS
SELECT 'messages' AS what, max(time) AS up_to, now64(3, 'UTC') AS asked FROM archive.messages
UNION ALL
SELECT 'cursors', max(time), now64(3, 'UTC') FROM archive.cursors
UNION ALL
SELECT 'daily', max(counted), now64(3, 'UTC') FROM archive.daily_counts;
