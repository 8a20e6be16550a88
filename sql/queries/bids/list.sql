-- One account's bids for a delivery day as they stand now, in the order in which they were placed, and what the auction
-- made of them. Only the bids of the page are looked up in it, and only once the day is cleared.
-- $1 account id bigint, $2 delivery day date, $3 slot smallint or null, $4 only bids after this seq bigint, $5 most rows
-- integer. Columns: bid_seq bigint, side text, slot smallint, price bigint, volume bigint, is_withdrawn boolean,
-- was_in_auction boolean, filled bigint (null if nothing was), clearing_price bigint (null where nothing cleared).
SELECT b.bid_seq,
       b.side,
       b.slot,
       b.price,
       b.volume,
       b.is_withdrawn,
       a.was_in_auction,
       CASE WHEN a.was_in_auction THEN (
           SELECT f.volume FROM fills AS f WHERE f.delivery_day = $2 AND f.bid_seq = b.bid_seq
       ) END AS filled,
       CASE WHEN a.was_in_auction THEN (
           SELECT s.price FROM cleared_slots AS s WHERE s.delivery_day = $2 AND s.slot = b.slot
       ) END AS clearing_price
  FROM (
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
         LIMIT $5
       ) AS b
  JOIN delivery_days AS y ON y.delivery_day = $2
 CROSS JOIN LATERAL (SELECT y.state = 'cleared' AND NOT b.is_withdrawn) AS a (was_in_auction)
 ORDER BY b.bid_seq;
