-- What accounts did to their bids beyond a number of their own sequences, in order; OFFSET 0 keeps the planner from
-- reading the whole log instead of each account's part of the index.
-- $1 accounts bigint[], $2 for each the last number that is known bigint[], $3 most rows of an account integer.
-- Columns: account_id bigint, account_seq bigint, delivery_day date, last_seq bigint, kind text, side text, bid_seq bigint,
-- first_seq bigint, slots smallint[], prices bigint[], volumes bigint[].
SELECT e.account_id, e.account_seq, e.delivery_day, e.last_seq, e.kind, e.side::text AS side, e.bid_seq, e.first_seq,
       e.slots, e.prices, e.volumes
  FROM unnest($1::bigint[], $2::bigint[]) AS asked (account_id, known)
 CROSS JOIN LATERAL (
        SELECT *
          FROM book_events AS b
         WHERE b.account_id = asked.account_id AND b.account_seq > asked.known
         ORDER BY b.account_seq
         LIMIT $3
        OFFSET 0
       ) AS e
 ORDER BY e.account_id, e.account_seq;
