-- Keep responses under their keys. A key that outlived its time is taken over; a live one is left alone and not
-- returned: its owner came first.
-- for each key: $1 accounts bigint[], $2 scopes bytea[], $3 body digests bytea[], $4 responses bytea[];
-- $5 lifetime interval. Columns: one for each key kept, scope bytea.
INSERT INTO idempotency_keys AS k (account_id, scope, body_sha256, response)
SELECT * FROM unnest($1::bigint[], $2::bytea[], $3::bytea[], $4::bytea[])
ON CONFLICT (account_id, scope) DO UPDATE
   SET body_sha256 = excluded.body_sha256, response = excluded.response, created_at = clock_timestamp()
 WHERE k.created_at <= clock_timestamp() - $5::interval
RETURNING k.scope;
