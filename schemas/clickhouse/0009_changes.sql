-- Changes: a message that was edited or deleted has a row with its new text, under its own number.
-- Blocks: no (changes what the tables say of themselves; the views are made anew at once)

-- version: 0 for the message, the number of the change for an edit, 2^62 more than that for a
--   deletion, 2^63 for an erasure. The highest stays. (An erasure had 1 once.)
-- changes: not 0: the row is a change of that message, and has no text of its own.
ALTER TABLE archive.messages MODIFY COLUMN version UInt64 CODEC(ZSTD(1));

ALTER TABLE archive.messages ADD COLUMN IF NOT EXISTS changes UInt64 DEFAULT 0 CODEC(ZSTD(1));

CREATE OR REPLACE VIEW archive.exact_messages AS
SELECT
    conversation,
    seq,
    lower(hex(key)) AS key,
    sender,
    arrayFirst(member -> member != sender, splitByChar(':', conversation)) AS recipient,
    device,
    body,
    time,
    toUInt8(version = 1 OR version >= 4611686018427387904) AS erased,
    changes,
    if(version = 1, 0, version % 4611686018427387904) AS changed_by
FROM archive.messages FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1;
