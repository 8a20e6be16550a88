-- Keep responses under their keys. A key that outlived its time is taken over; a live one is left alone and not
-- returned: its owner came first.
-- for each key: $1 accounts bigint[], $2 methods text[], $3 paths text[], $4 keys text[], $5 body digests bytea[],
-- $6 responses bytea[]; $7 lifetime interval. Columns: one for each key kept, key text.
INSERT INTO idempotency_keys AS k (account_id, method, path, key, body_sha256, response)
SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::bytea[], $6::bytea[])
ON CONFLICT (account_id, method, path, key) DO UPDATE
   SET body_sha256 = excluded.body_sha256, response = excluded.response, created_at = clock_timestamp()
 WHERE k.created_at <= clock_timestamp() - $7::interval
RETURNING k.key;
