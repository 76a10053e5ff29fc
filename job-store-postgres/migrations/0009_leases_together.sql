-- A lease is one row for all entries that were taken together, so that taking them writes nothing where they are.
CREATE TABLE lease (
    owner uuid NOT NULL,
    lease_no bigint GENERATED ALWAYS AS IDENTITY,
    leased_until bigint NOT NULL,
    -- The ids of the entries, ascending.
    entries bigint[] NOT NULL,
    PRIMARY KEY (owner, lease_no)
);

-- Compressing them costs more than the bytes.
ALTER TABLE lease ALTER COLUMN entries SET STORAGE EXTERNAL;

-- One row, which changes with every lease that is written: who took entries from what it saw before another did, sees it here.
CREATE TABLE lease_version (
    is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    version bigint NOT NULL
);
INSERT INTO lease_version (version) VALUES (0);

INSERT INTO lease (owner, leased_until, entries)
SELECT lease_owner, leased_until, array_agg(id ORDER BY id) FROM outbox
WHERE lease_owner IS NOT NULL AND leased_until IS NOT NULL
GROUP BY lease_owner, leased_until;

-- A dispatcher of an earlier version fails from here on, which is better than taking what another has on lease.
ALTER TABLE outbox DROP COLUMN lease_owner, DROP COLUMN leased_until;

-- No entry is written once more before it goes.
ALTER TABLE outbox RESET (fillfactor);
