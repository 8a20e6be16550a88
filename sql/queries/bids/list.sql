-- One account's bids for a delivery day as they stand now, in the order in which they were placed.
-- $1 account id bigint, $2 delivery day date, $3 slot smallint or null, $4 only bids after this seq bigint, $5 most rows
-- integer. Columns: bid_seq bigint, side text, slot smallint, price bigint, volume bigint, is_withdrawn boolean.
SELECT e.first_seq + x.position - 1 AS bid_seq,
       e.side::text AS side,
       x.slot,
       coalesce(c.price, x.price) AS price,
       coalesce(c.volume, x.volume) AS volume,
       coalesce(c.is_withdrawn, false) AS is_withdrawn
  FROM account_days AS d
  JOIN book_events AS e
    ON e.account_id = d.account_id AND e.account_seq BETWEEN d.first_account_seq AND d.last_account_seq
 CROSS JOIN LATERAL unnest(e.slots, e.prices, e.volumes) WITH ORDINALITY AS x (slot, price, volume, position)
  LEFT JOIN changed_bids AS c ON c.delivery_day = e.delivery_day AND c.bid_seq = e.first_seq + x.position - 1
 WHERE d.account_id = $1 AND d.delivery_day = $2 AND e.delivery_day = $2 AND e.kind = 'place'
   AND e.last_seq > $4
   AND e.first_seq + x.position - 1 > $4
   AND ($3::smallint IS NULL OR x.slot = $3)
 ORDER BY bid_seq
 LIMIT $5;
