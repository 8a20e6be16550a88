-- Whether the database answers and can write.
-- No parameters. Columns: is_replica boolean.
SELECT pg_catalog.pg_is_in_recovery() AS is_replica;
