-- What an account traded on a cleared day, all together: its position in each slot is the sum of its filled bids there.
-- $1 account id bigint, $2 delivery day date, $3 slot smallint or null.
-- Columns: volume numeric, amount numeric (price ticks times volume ticks).
SELECT coalesce(sum(x.volume), 0) AS volume,
       coalesce(sum(x.volume::numeric * s.price), 0) AS amount
  FROM cleared_positions AS p
 CROSS JOIN LATERAL unnest(p.slots, p.volumes) AS x (slot, volume)
 CROSS JOIN LATERAL (
        SELECT price FROM cleared_slots WHERE delivery_day = $2 AND slot = x.slot OFFSET 0
       ) AS s
 WHERE p.account_id = $1 AND p.delivery_day = $2 AND ($3::smallint IS NULL OR x.slot = $3);
