-- One account's filled bids of a cleared day in the order in which they were placed, each with the price of its slot.
-- Its bids come in their order and are looked up one by one until the page is full: OFFSET 0 keeps each part as it is.
-- $1 account id bigint, $2 delivery day date, $3 slot smallint or null, $4 only bids after this seq bigint, $5 most rows
-- integer. Columns: bid_seq bigint, side text, slot smallint, volume bigint, price bigint.
SELECT b.bid_seq, b.side, b.slot, f.volume, s.price
  FROM (
        SELECT e.first_seq + x.position - 1 AS bid_seq, e.side::text AS side, x.slot
          FROM account_days AS d
          JOIN book_events AS e
            ON e.account_id = d.account_id AND e.account_seq BETWEEN d.first_account_seq AND d.last_account_seq
         CROSS JOIN LATERAL unnest(e.slots) WITH ORDINALITY AS x (slot, position)
         WHERE d.account_id = $1 AND d.delivery_day = $2 AND e.delivery_day = $2 AND e.kind = 'place'
           AND e.last_seq > $4
           AND e.first_seq + x.position - 1 > $4
           AND ($3::smallint IS NULL OR x.slot = $3)
         ORDER BY bid_seq
        OFFSET 0
       ) AS b
 CROSS JOIN LATERAL (
        SELECT volume FROM fills WHERE delivery_day = $2 AND bid_seq = b.bid_seq OFFSET 0
       ) AS f
 CROSS JOIN LATERAL (
        SELECT price FROM cleared_slots WHERE delivery_day = $2 AND slot = b.slot OFFSET 0
       ) AS s
 ORDER BY b.bid_seq
 LIMIT $5;
