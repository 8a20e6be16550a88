-- Keep responses under their keys. One that is there already outlived its time, or it would have been found under the
-- lock of its account: it is taken over.
-- for each key: $1 accounts bigint[], $2 scopes bytea[], $3 body digests bytea[], $4 responses bytea[]. No columns.
INSERT INTO idempotency_keys (account_id, scope, body_sha256, response)
SELECT * FROM unnest($1::bigint[], $2::bytea[], $3::bytea[], $4::bytea[])
ON CONFLICT (account_id, scope) DO UPDATE
   SET body_sha256 = excluded.body_sha256, response = excluded.response, created_at = clock_timestamp();
