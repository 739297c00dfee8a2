-- Counts are of what people sent: an edit or a deletion is no message, and nobody sent the probes.
-- Blocks: no (the views are made anew at once; ClickHouse counts the last 40 days within the hour)

-- Every message that a person sent, once. A gateway's probe talks as probe-SLOT to probe-SLOT.NUMBER.
CREATE VIEW IF NOT EXISTS archive.sent_messages AS
SELECT conversation, seq, key, sender, recipient, device, body, time, erased, changed_by
FROM archive.exact_messages
WHERE changes = 0 AND NOT (
    startsWith(conversation, 'probe-')
    AND match(conversation, '^probe-[0-9]+:probe-[0-9]+[.][0-9]+$')
);

CREATE OR REPLACE VIEW archive.messages_by_hour AS
SELECT
    toStartOfHour(time) AS hour,
    count() AS messages,
    uniqExact(sender) AS senders,
    uniqExact(conversation) AS conversations
FROM archive.sent_messages
WHERE time >= {since:DateTime64(3, 'UTC')} AND time < {until:DateTime64(3, 'UTC')}
GROUP BY hour
ORDER BY hour;

CREATE OR REPLACE VIEW archive.activity_by_day AS
SELECT
    toDate(time) AS day,
    count() AS messages,
    uniqExact(sender) AS senders,
    uniqExact(recipient) AS recipients,
    uniqExact(conversation) AS pairs,
    countIf(seq = 1) AS new_conversations
FROM archive.sent_messages
WHERE time >= {since:DateTime64(3, 'UTC')} AND time < {until:DateTime64(3, 'UTC')}
GROUP BY day
ORDER BY day;

CREATE OR REPLACE VIEW archive.retention_by_week AS
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
    FROM archive.sent_messages
    WHERE time >= {since:DateTime64(3, 'UTC')} AND time < {until:DateTime64(3, 'UTC')}
    GROUP BY sender
)
GROUP BY cohort, weeks_later
ORDER BY cohort, weeks_later;

CREATE OR REPLACE VIEW archive.answers_by_day AS
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
    FROM archive.sent_messages
    WHERE time >= {since:DateTime64(3, 'UTC')} AND time < {until:DateTime64(3, 'UTC')}
    WINDOW one AS (
        PARTITION BY conversation ORDER BY seq ROWS BETWEEN 1 PRECEDING AND CURRENT ROW
    )
)
WHERE asker != '' AND asker != sender
GROUP BY day
ORDER BY day;

CREATE OR REPLACE VIEW archive.message_times_between AS
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
        FROM archive.sent_messages
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

DROP VIEW IF EXISTS archive.daily_feed;

CREATE MATERIALIZED VIEW IF NOT EXISTS archive.daily_feed
REFRESH EVERY 1 HOUR APPEND TO archive.daily_counts AS
SELECT
    toDate(time) AS day,
    count() AS messages,
    uniqExact(conversation) AS conversations,
    uniqExact(sender) AS senders,
    sum(length(body)) AS body_bytes,
    now64(3, 'UTC') AS counted
FROM archive.sent_messages
WHERE time >= toStartOfDay(now('UTC') - INTERVAL 40 DAY)
GROUP BY day;
