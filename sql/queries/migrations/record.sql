-- Enter a migration into the ledger.
-- $1 number integer, $2 name text, $3 sha256 text. No columns.
INSERT INTO schema_migrations (number, name, sha256) VALUES ($1, $2, $3);
