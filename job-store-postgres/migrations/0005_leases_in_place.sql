-- A lease is written into its entry without touching an index: the entry stays among those that are due, and a claim looks at
-- the lease. Only what is to be tried again later is parked.
ALTER TABLE outbox ADD COLUMN leased_until bigint;

UPDATE outbox SET leased_until = parked_until, parked_until = NULL
WHERE parked_until IS NOT NULL AND lease_owner IS NOT NULL;

-- With room for the version that is on lease on the same page.
ALTER TABLE outbox SET (fillfactor = 40);
