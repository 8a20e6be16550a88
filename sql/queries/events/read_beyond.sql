-- Rows of the log that follow on what a reader has seen, day by day in order. Looked up day by day, so that the primary
-- key leads to them whatever the planner believes of the table.
-- $1 delivery days date[], $2 for each: the last seq that was seen bigint[], $3 most rows of a day bigint.
-- Columns: delivery_day date, first_seq bigint, last_seq bigint, kind text, side text or null, slots smallint[], prices
-- bigint[], volumes bigint[], account_id bigint or null, account_seq bigint or null.
SELECT e.delivery_day, e.first_seq, e.last_seq, e.kind, e.side::text AS side, e.slots, e.prices, e.volumes,
       e.account_id, e.account_seq
  FROM unnest($1::date[], $2::bigint[]) AS u (delivery_day, seq)
 CROSS JOIN LATERAL (
        SELECT *
          FROM book_events
         WHERE delivery_day = u.delivery_day AND first_seq > u.seq
         ORDER BY first_seq
         LIMIT $3
       ) AS e
 ORDER BY e.delivery_day, e.first_seq;
