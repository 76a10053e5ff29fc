-- Rows of progress are rewritten again and again, and most are between 1 and 4 kB. Beyond 2 kB PostgreSQL would move the data
-- elsewhere, in pieces of its own with an index of their own, which costs several times what writing the row does.
ALTER TABLE job_progress SET (toast_tuple_target = 8160);
ALTER TABLE job SET (toast_tuple_target = 8160);
