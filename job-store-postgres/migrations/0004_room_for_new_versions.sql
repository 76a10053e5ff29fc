-- A batch dispatches, and then completes, jobs that lie side by side. With room for a second version of every row on its
-- page, that touches no index.
ALTER TABLE job SET (fillfactor = 45);
