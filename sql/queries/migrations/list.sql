-- What was applied to this database.
-- No parameters. Columns: number integer, name text, sha256 text.
SELECT number, name, sha256 FROM schema_migrations ORDER BY number;
