-- Whether somebody waits for a job of this id, as of the moment in which it is asked: within a statement that took a lock first,
-- what was committed before the lock was free is seen, which the statement itself, begun earlier, would not see.
CREATE FUNCTION job_is_waited_for(partition text, job text) RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    RETURN EXISTS (
        SELECT FROM job_dependency
        WHERE partition_id = partition AND prerequisite_id = job
        ORDER BY dependent_id OFFSET 0
    );
END
$$;
