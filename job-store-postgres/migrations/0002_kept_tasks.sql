-- The task of a job outlives its outbox entry, so that it can be dispatched again: it moves to the job's details, and the
-- entry of a first message only says when it is due. Jobs dispatched before this version have none.
ALTER TABLE job_detail
    ADD COLUMN task_id uuid,
    ADD COLUMN api_version integer,
    ADD COLUMN classifier text,
    ADD COLUMN queue text,
    ADD COLUMN target text,
    ADD COLUMN task_data bytea;

UPDATE job_detail d SET task_id = o.task_id, api_version = o.api_version, classifier = o.classifier, queue = o.queue,
    target = o.target, task_data = o.body
FROM outbox o WHERE NOT o.stowed AND o.id = d.job_no AND o.partition_id = d.partition_id;

ALTER TABLE outbox
    ALTER COLUMN queue DROP NOT NULL,
    ALTER COLUMN body DROP NOT NULL,
    DROP COLUMN task_id,
    DROP COLUMN api_version,
    DROP COLUMN classifier,
    DROP COLUMN target,
    DROP COLUMN correlation_id;

UPDATE outbox SET queue = NULL, body = NULL WHERE NOT stowed;
