-- Partitions whose messages are held back. Entries of jobs that were accepted as suspended say so themselves.
CREATE TABLE suspended_partition (
    partition_id text COLLATE "C" PRIMARY KEY
);

CREATE INDEX outbox_suspended ON outbox (partition_id) WHERE suspended;
