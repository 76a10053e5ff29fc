-- The ids of all jobs that a job was created to wait for, as an array in JSON, in the order given; null for none. The table
-- job_dependency has those that are unmet. Of jobs that are there already only these are known.
ALTER TABLE job_detail ADD COLUMN prerequisites text;
