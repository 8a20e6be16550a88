-- The aggregated book of a delivery day, built from its whole event log, with the sequence number it stands at: one
-- statement, hence one snapshot. No row when nobody used the day yet.
-- $1 delivery day date. Columns: state text, last_seq bigint; the levels as parallel arrays, by slot, side, price:
-- slots smallint[], sides text[], prices bigint[], volumes bigint[], bids bigint[].
SELECT d.state, d.last_seq, l.slots, l.sides, l.prices, l.volumes, l.bids
  FROM delivery_days AS d
 CROSS JOIN LATERAL (
        SELECT coalesce(array_agg(slot), '{}') AS slots,
               coalesce(array_agg(side::text), '{}') AS sides,
               coalesce(array_agg(price), '{}') AS prices,
               coalesce(array_agg(volume), '{}') AS volumes,
               coalesce(array_agg(bids), '{}') AS bids
          FROM (
                SELECT x.slot, e.side, x.price,
                       sum(x.volume)::bigint AS volume,
                       sum(sign(x.volume))::bigint AS bids
                  FROM book_events AS e,
                       LATERAL unnest(e.slots, e.prices, e.volumes) AS x (slot, price, volume)
                 WHERE e.delivery_day = d.delivery_day
                 GROUP BY x.slot, e.side, x.price
                HAVING sum(x.volume) <> 0
                 ORDER BY x.slot, e.side, x.price
               ) AS level
       ) AS l
 WHERE d.delivery_day = $1;
