-- Which conversations a user has, with the last number and time. It keeps maxima only, so repeated
-- rows change nothing.
-- Blocks: no (fills a new table from `messages`: some seconds for each 10 million messages)

CREATE TABLE IF NOT EXISTS archive.user_conversations
(
    user String CODEC(ZSTD(1)),
    conversation String CODEC(ZSTD(1)),
    seq SimpleAggregateFunction(max, UInt64) CODEC(ZSTD(1)),
    time SimpleAggregateFunction(max, DateTime64(3, 'UTC')) CODEC(ZSTD(1))
)
ENGINE = AggregatingMergeTree
ORDER BY (user, conversation)
SETTINGS index_granularity = 1024, fsync_after_insert = 1, fsync_part_directory = 1;

CREATE MATERIALIZED VIEW IF NOT EXISTS archive.user_conversations_feed TO archive.user_conversations AS
SELECT
    arrayJoin(splitByChar(':', m.conversation)) AS user,
    m.conversation AS conversation,
    max(m.seq) AS seq,
    max(m.time) AS time
FROM archive.messages AS m
GROUP BY user, conversation;

INSERT INTO archive.user_conversations
SELECT
    arrayJoin(splitByChar(':', m.conversation)) AS user,
    m.conversation AS conversation,
    max(m.seq) AS seq,
    max(m.time) AS time
FROM archive.messages AS m
GROUP BY user, conversation;
