-- A new job has an entry in an index only where it differs from most: a text that it lacks, and a percentage of 0 while it is
-- waiting, are found by entries that it has anyway, or by a single one for all three texts.

-- Which of the texts there are: 1 for the name, 2 for the description, 4 for the external data. Not a generated column, whose
-- expression every insert would read and parse anew.
ALTER TABLE job_detail ADD COLUMN texts smallint NOT NULL DEFAULT 0;
UPDATE job_detail SET texts = CASE WHEN name IS NULL THEN 0 ELSE 1 END
    + CASE WHEN description IS NULL THEN 0 ELSE 2 END
    + CASE WHEN external_data IS NULL THEN 0 ELSE 4 END;
ALTER TABLE job_detail ALTER COLUMN texts DROP DEFAULT;

CREATE INDEX job_detail_by_texts ON job_detail (partition_id, texts, job_id);

DROP INDEX job_detail_by_name, job_detail_by_description, job_detail_by_external_data;
CREATE INDEX job_detail_by_name ON job_detail (partition_id, name_key, job_id) WHERE name_key < '\xff';
CREATE INDEX job_detail_by_description ON job_detail (partition_id, description_key, job_id)
    WHERE description_key < '\xff';
CREATE INDEX job_detail_by_external_data ON job_detail (partition_id, external_data_key, job_id)
    WHERE external_data_key < '\xff';

-- 5 is Waiting.
DROP INDEX job_by_percentage;
CREATE INDEX job_by_percentage ON job (partition_id, percentage_group, job_id)
    WHERE status <> 5 OR percentage_group > 0;
