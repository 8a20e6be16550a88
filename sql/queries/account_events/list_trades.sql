-- What auctions gave accounts beyond a number of their own sequences, in order. Looked up account by account, day by day
-- and bid by bid, each in an index: OFFSET 0 keeps the planner from reading whole tables instead.
-- $1 accounts bigint[], $2 for each the last number that is known bigint[], $3 most rows of an account integer.
-- Columns: account_id bigint, account_seq bigint, delivery_day date, seq bigint: of the event that announced the results;
-- and the filled bids in the order in which they were placed, as parallel arrays: bid_seqs bigint[], sides text[], slots
-- smallint[], prices bigint[] of the clearing, volumes bigint[] that were filled.
SELECT p.account_id, p.account_seq, p.delivery_day, c.seq, t.bid_seqs, t.sides, t.slots, t.prices, t.volumes
  FROM unnest($1::bigint[], $2::bigint[]) AS asked (account_id, known)
 CROSS JOIN LATERAL (
        SELECT *
          FROM cleared_positions AS given
         WHERE given.account_id = asked.account_id AND given.account_seq > asked.known
         ORDER BY given.account_seq
         LIMIT $3
        OFFSET 0
       ) AS p
  JOIN cleared_days AS c ON c.delivery_day = p.delivery_day
 CROSS JOIN LATERAL (
        SELECT coalesce(array_agg(b.bid_seq ORDER BY b.bid_seq), '{}') AS bid_seqs,
               coalesce(array_agg(b.side ORDER BY b.bid_seq), '{}') AS sides,
               coalesce(array_agg(b.slot ORDER BY b.bid_seq), '{}') AS slots,
               coalesce(array_agg(s.price ORDER BY b.bid_seq), '{}') AS prices,
               coalesce(array_agg(f.volume ORDER BY b.bid_seq), '{}') AS volumes
          FROM (
                SELECT e.side::text AS side, x.slot, e.first_seq + x.position - 1 AS bid_seq
                  FROM account_days AS d
                  JOIN book_events AS e
                    ON e.account_id = d.account_id
                   AND e.account_seq BETWEEN d.first_account_seq AND d.last_account_seq
                 CROSS JOIN LATERAL unnest(e.slots) WITH ORDINALITY AS x (slot, position)
                 WHERE d.account_id = p.account_id AND d.delivery_day = p.delivery_day
                   AND e.delivery_day = p.delivery_day AND e.kind = 'place'
                OFFSET 0
               ) AS b
         CROSS JOIN LATERAL (
                SELECT volume FROM fills WHERE delivery_day = p.delivery_day AND bid_seq = b.bid_seq OFFSET 0
               ) AS f
         CROSS JOIN LATERAL (
                SELECT price FROM cleared_slots WHERE delivery_day = p.delivery_day AND slot = b.slot OFFSET 0
               ) AS s
       ) AS t
 ORDER BY p.account_id, p.account_seq;
