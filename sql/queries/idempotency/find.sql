-- Responses that were given before to these keys, within their lifetime.
-- for each key: $1 accounts bigint[], $2 methods text[], $3 paths text[], $4 keys text[]; $5 lifetime interval.
-- Columns: account_id bigint, method text, path text, key text, body_sha256 bytea, response bytea.
SELECT k.account_id, k.method, k.path, k.key, k.body_sha256, k.response
  FROM idempotency_keys AS k
  JOIN unnest($1::bigint[], $2::text[], $3::text[], $4::text[]) AS u (account_id, method, path, key)
    ON (k.account_id, k.method, k.path, k.key) = (u.account_id, u.method, u.path, u.key)
 WHERE k.created_at > clock_timestamp() - $5::interval;
