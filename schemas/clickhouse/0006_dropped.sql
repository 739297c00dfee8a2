-- Up to where messages are gone for good. Readers need it to tell the beginning of what is kept from a gap.
-- Blocks: no (makes a new table with a row at most)

-- before: a month, YYYYMM. `messenger archive retention` has dropped messages of earlier months, or an operator has accepted that
-- they are lost. Without a row nothing was dropped: a conversation whose first message here is not number 1 is not whole yet (the
-- archive was lost, and a backup of it has not been restored yet).
CREATE TABLE IF NOT EXISTS archive.dropped
(
    before UInt32,
    since DateTime DEFAULT now()
)
ENGINE = ReplacingMergeTree(since)
ORDER BY before;

-- Retention did not say so before there was this table. An archive with messages is therefore taken to be whole as it is now.
INSERT INTO archive.dropped (before) SELECT toYYYYMM(min(time)) FROM archive.messages HAVING count() > 0;
