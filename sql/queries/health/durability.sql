-- Settings that must be on so that what was acknowledged survives a crash, and are not.
-- No parameters. Columns: name text.
SELECT name
  FROM pg_catalog.pg_settings
 WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit')
   AND setting = 'off';
