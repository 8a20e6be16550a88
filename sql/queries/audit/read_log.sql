-- A delivery day's log, in order.
-- $1 delivery day date. Columns: first_seq bigint, last_seq bigint, kind text, side text or null, slots smallint[],
-- prices bigint[], volumes bigint[], account_id bigint or null, account_seq bigint or null, bid_seq bigint or null.
SELECT first_seq, last_seq, kind, side::text AS side, slots, prices, volumes, account_id, account_seq, bid_seq
  FROM book_events
 WHERE delivery_day = $1
 ORDER BY first_seq;
