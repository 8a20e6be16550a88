-- Total volumes of some levels of a delivery day, from its log. Levels without any volume are left out.
-- $1 delivery day date; for each level: $2 slots smallint[], $3 sides text[], $4 prices bigint[].
-- Columns: slot smallint, side text, price bigint, volume bigint.
SELECT x.slot, e.side::text AS side, x.price, sum(x.volume)::bigint AS volume
  FROM book_events AS e,
       LATERAL unnest(e.slots, e.prices, e.volumes) AS x (slot, price, volume)
 WHERE e.delivery_day = $1
   AND (x.slot, e.side::text, x.price) IN (
        SELECT u.slot, u.side, u.price
          FROM unnest($2::smallint[], $3::text[], $4::bigint[]) AS u (slot, side, price)
       )
 GROUP BY x.slot, e.side, x.price
HAVING sum(x.volume) <> 0;
