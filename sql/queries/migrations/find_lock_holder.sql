-- The session that holds the migration lock.
-- $1 key bigint. Columns: pid integer, application_name text.
SELECT l.pid, a.application_name
  FROM pg_catalog.pg_locks AS l
  JOIN pg_catalog.pg_stat_activity AS a ON a.pid = l.pid
 WHERE l.locktype = 'advisory' AND l.granted AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
   AND (l.classid::bigint << 32) | l.objid::bigint = $1;
