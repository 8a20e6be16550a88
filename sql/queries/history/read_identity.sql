-- What tells one history of this database from another: the cluster, its timeline (a restore or a failover begins a
-- new one) and the database.
-- No parameters. Columns: identity text.
SELECT system_identifier || '/' || left(pg_walfile_name(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()
                                                             ELSE pg_current_wal_lsn() END), 8)
       || '/' || (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database()) AS identity
  FROM pg_control_system();
