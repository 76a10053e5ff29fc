-- Jobs, their progress, their dependencies and the outbox.
--
-- No CHECK constraints: PostgreSQL reads them anew for every statement, which costs a single insert a twentieth; what makes
-- no sense is found when it is read.
--
-- Texts that are compared or sorted have the collation "C", so that an order never depends on the locale of a database.
-- Times are milliseconds since the Unix epoch. Columns named *_key hold a text in the form that sorts byte by byte.

-- Numbers jobs and outbox entries alike: the entry of a job's first message has the number of the job. Each value stands
-- for a block of 1,024 numbers, which a process gives out by itself.
CREATE SEQUENCE job_number_block;

-- What changes while a job lives, in a narrow row, so that a batch of completions rewrites as little as possible.
-- Only columns that change rarely are indexed; update_group and percentage_group are coarse for that reason.
CREATE TABLE job (
    partition_id text COLLATE "C" NOT NULL,
    job_id text COLLATE "C" NOT NULL,
    job_no bigint NOT NULL,
    create_time bigint NOT NULL,
    last_update_time bigint NOT NULL,
    update_group bigint NOT NULL,
    start_time bigint,
    finish_time bigint,
    percentage bigint NOT NULL,
    failure_count bigint NOT NULL,
    last_failure bigint NOT NULL,
    status smallint NOT NULL,
    hundredths smallint NOT NULL,
    percentage_group smallint NOT NULL,
    has_progress_rows boolean NOT NULL,
    has_prerequisites boolean NOT NULL,
    subtasks_total integer,
    subtasks_completed integer NOT NULL,
    subtasks_failed integer NOT NULL,
    progress bytea,
    PRIMARY KEY (partition_id, job_id)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);

-- A bitmap hardly compresses, and trying costs more than the write.
ALTER TABLE job ALTER COLUMN progress SET STORAGE EXTERNAL;

CREATE INDEX job_by_status ON job (partition_id, status, job_id);
CREATE INDEX job_by_status_and_creation ON job (partition_id, status, create_time);
CREATE INDEX job_by_percentage ON job (partition_id, percentage_group, job_id);
CREATE INDEX job_by_update ON job (partition_id, update_group);
CREATE INDEX job_by_finish ON job (partition_id, finish_time) WHERE finish_time IS NOT NULL;

-- What a job was created with; never updated. The number comes first in the key, because a settled outbox entry is
-- known by its number alone.
CREATE TABLE job_detail (
    partition_id text COLLATE "C" NOT NULL,
    job_no bigint NOT NULL,
    job_id text COLLATE "C" NOT NULL,
    create_time bigint NOT NULL,
    delay_millis bigint NOT NULL,
    fingerprint bytea NOT NULL,
    id_key bytea NOT NULL,
    name text COLLATE "C",
    name_key bytea NOT NULL,
    name_rest bytea,
    description text COLLATE "C",
    description_key bytea NOT NULL,
    description_rest bytea,
    external_data text COLLATE "C",
    external_data_key bytea NOT NULL,
    external_data_rest bytea,
    labels jsonb,
    job_type text,
    correlation_id text,
    PRIMARY KEY (job_no, partition_id)
);

CREATE INDEX job_detail_by_creation ON job_detail (partition_id, create_time);
CREATE INDEX job_detail_by_id ON job_detail (partition_id, id_key);
CREATE INDEX job_detail_by_name ON job_detail (partition_id, name_key, job_id);
CREATE INDEX job_detail_by_description ON job_detail (partition_id, description_key, job_id);
CREATE INDEX job_detail_by_external_data ON job_detail (partition_id, external_data_key, job_id);

-- For finding jobs by label; a job's own labels are read from job_detail.
CREATE TABLE job_label (
    partition_id text COLLATE "C" NOT NULL,
    label_key text COLLATE "C" NOT NULL,
    value_key bytea NOT NULL,
    value_rest bytea,
    job_id text COLLATE "C" NOT NULL,
    create_time bigint NOT NULL,
    job_no bigint NOT NULL
);

CREATE INDEX job_label_by_value ON job_label (partition_id, label_key, value_key, job_id);
CREATE INDEX job_label_by_value_and_creation ON job_label (partition_id, label_key, value_key, create_time);
CREATE INDEX job_label_by_creation ON job_label (partition_id, label_key, create_time, job_no);

-- One row for each prerequisite that is not met, whether a job of that id exists or not.
CREATE TABLE job_dependency (
    partition_id text COLLATE "C" NOT NULL,
    prerequisite_id text COLLATE "C" NOT NULL,
    dependent_id text COLLATE "C" NOT NULL,
    dependent_no bigint NOT NULL,
    PRIMARY KEY (partition_id, prerequisite_id, dependent_id)
);

CREATE INDEX job_dependency_by_dependent ON job_dependency (partition_id, dependent_no);

-- Progress below a job's own record: the record of a task under its parent's path and its number (kind 0), and the
-- chunks of a task's completed children under its own path (kind 1). A path is four bytes per level, so that a task and
-- all below it are one range.
CREATE TABLE job_progress (
    partition_id text COLLATE "C" NOT NULL,
    job_no bigint NOT NULL,
    parent bytea NOT NULL,
    kind smallint NOT NULL,
    number bigint NOT NULL,
    data bytea NOT NULL,
    PRIMARY KEY (partition_id, job_no, parent, kind, number)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);

ALTER TABLE job_progress ALTER COLUMN data SET STORAGE EXTERNAL;

CREATE TABLE job_failure (
    partition_id text COLLATE "C" NOT NULL,
    job_no bigint NOT NULL,
    place bigint NOT NULL,
    task bytea NOT NULL,
    failure_id text NOT NULL,
    failure_time bigint NOT NULL,
    source text NOT NULL,
    message text NOT NULL,
    PRIMARY KEY (partition_id, job_no, place)
);

CREATE INDEX job_failure_by_task ON job_failure (partition_id, job_no, task);

-- Messages to be published. An entry can be taken when it is due, not held, not suspended and not parked; it is parked
-- while it is on lease and until it may be tried again.
CREATE TABLE outbox (
    id bigint NOT NULL,
    partition_id text COLLATE "C" NOT NULL,
    job_no bigint NOT NULL,
    job_id text COLLATE "C" NOT NULL,
    due_at bigint,
    parked_until bigint,
    delay_millis bigint NOT NULL,
    unmet integer NOT NULL,
    attempts integer NOT NULL,
    held boolean NOT NULL,
    suspended boolean NOT NULL,
    stowed boolean NOT NULL,
    lease_owner uuid,
    retry_at bigint,
    reason text,
    task_id uuid,
    api_version integer,
    classifier text,
    queue text NOT NULL,
    target text,
    correlation_id text,
    headers bytea,
    body bytea NOT NULL,
    PRIMARY KEY (id, partition_id)
) WITH (autovacuum_vacuum_scale_factor = 0.05);

CREATE INDEX outbox_due ON outbox (partition_id, due_at, id)
    WHERE due_at IS NOT NULL AND parked_until IS NULL AND NOT held AND NOT suspended;
CREATE INDEX outbox_parked ON outbox (parked_until) WHERE parked_until IS NOT NULL;
CREATE INDEX outbox_stowed ON outbox (partition_id, job_no) WHERE stowed;

-- How many jobs have each status; the sum over the shards. Writers on different connections use different shards, so
-- that they do not wait for each other.
CREATE TABLE job_count (
    partition_id text COLLATE "C" NOT NULL,
    status smallint NOT NULL,
    shard smallint NOT NULL,
    jobs bigint NOT NULL,
    PRIMARY KEY (partition_id, status, shard)
) WITH (fillfactor = 50);
