-- Take the migration lock for this session if it is free.
-- $1 key bigint. Columns: pg_try_advisory_lock boolean.
SELECT pg_catalog.pg_try_advisory_lock($1);
