-- Responses that were given before to these keys, within their lifetime. One look-up in the index for each key, also
-- where the plan was made while the table was small.
-- for each key: $1 accounts bigint[], $2 scopes bytea[]; $3 lifetime interval.
-- Columns: account_id bigint, scope bytea, body_sha256 bytea, response bytea.
SELECT k.account_id, k.scope, k.body_sha256, k.response
  FROM unnest($1::bigint[], $2::bytea[]) AS u (account_id, scope)
 CROSS JOIN LATERAL (
        SELECT *
          FROM idempotency_keys
         WHERE account_id = u.account_id AND scope = u.scope AND created_at > clock_timestamp() - $3::interval
        OFFSET 0
       ) AS k;
