-- What answers these keys, within their lifetime: the row of the event log that the first request wrote, or the whole
-- response where an earlier version kept it. One look-up in the index for each key, also where the plan was made while
-- the table was small.
-- for each key, as array literals (see storage/arrays.py): $1 accounts bigint[], $2 scopes in hexadecimal text[]; $3
-- lifetime interval.
-- Columns: account_id bigint, scope bytea, body_sha256 bytea, response bytea or null; of the row: delivery_day date,
-- first_seq bigint, last_seq bigint, bid_seq bigint, kind text, side text, slots smallint[], prices bigint[], volumes
-- bigint[].
SELECT k.account_id, k.scope, k.body_sha256, k.response,
       e.delivery_day, e.first_seq, e.last_seq, e.bid_seq, e.kind, e.side::text AS side, e.slots, e.prices, e.volumes
  FROM unnest($1::text::bigint[], $2::text::text[]) AS u (account_id, scope)
 CROSS JOIN LATERAL (
        SELECT *
          FROM idempotency_keys
         WHERE account_id = u.account_id AND scope = decode(u.scope, 'hex') AND created_at > clock_timestamp() - $3::interval
        OFFSET 0
       ) AS k
  LEFT JOIN LATERAL (
        SELECT * FROM book_events WHERE delivery_day = k.delivery_day AND first_seq = k.first_seq OFFSET 0
       ) AS e ON true
 WHERE k.response IS NOT NULL OR e.first_seq IS NOT NULL;
