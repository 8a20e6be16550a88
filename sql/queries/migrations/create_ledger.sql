-- The ledger of applied migrations; the one table that no migration creates.
-- No parameters, no columns.
CREATE TABLE IF NOT EXISTS schema_migrations (
    number     integer CONSTRAINT schema_migrations_pkey PRIMARY KEY,
    name       text NOT NULL,
    sha256     text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
