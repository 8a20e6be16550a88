-- Rows of the log beyond the event that is known of each delivery day, in order; OFFSET 0 keeps the planner to the
-- primary key of each day.
-- $1 delivery days date[], $2 for each the last event that is known bigint[], $3 most rows of a day integer.
-- Columns: delivery_day date, first_seq bigint, last_seq bigint, kind text, side text, slots smallint[], prices bigint[],
-- volumes bigint[], account_id bigint, account_seq bigint.
SELECT e.delivery_day, e.first_seq, e.last_seq, e.kind, e.side::text AS side, e.slots, e.prices, e.volumes,
       e.account_id, e.account_seq
  FROM unnest($1::date[], $2::bigint[]) AS asked (delivery_day, known)
 CROSS JOIN LATERAL (
        SELECT *
          FROM book_events AS b
         WHERE b.delivery_day = asked.delivery_day AND b.first_seq > asked.known
         ORDER BY b.first_seq
         LIMIT $3
        OFFSET 0
       ) AS e
 ORDER BY e.delivery_day, e.first_seq;
