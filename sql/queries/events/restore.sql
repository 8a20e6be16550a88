-- The aggregated book of a delivery day with the event of each level's last change, levels that are gone included. No row
-- when nobody used the day.
-- $1 delivery day date. Columns: state text, last_seq bigint, closed_seq bigint; the levels as parallel arrays: slots
-- smallint[], sides text[], prices bigint[], volumes bigint[], bids bigint[], seqs bigint[].
SELECT d.state, d.last_seq,
       (SELECT e.first_seq FROM book_events AS e WHERE e.delivery_day = d.delivery_day AND e.kind = 'close'
         ORDER BY e.first_seq DESC LIMIT 1) AS closed_seq,
       l.slots, l.sides, l.prices, l.volumes, l.bids, l.seqs
  FROM delivery_days AS d
 CROSS JOIN LATERAL (
        SELECT coalesce(array_agg(slot), '{}') AS slots,
               coalesce(array_agg(side::text), '{}') AS sides,
               coalesce(array_agg(price), '{}') AS prices,
               coalesce(array_agg(volume), '{}') AS volumes,
               coalesce(array_agg(bids), '{}') AS bids,
               coalesce(array_agg(seq), '{}') AS seqs
          FROM (
                SELECT x.slot, e.side, x.price,
                       sum(x.volume)::bigint AS volume,
                       sum(sign(x.volume))::bigint AS bids,
                       max(CASE e.kind WHEN 'place' THEN e.first_seq + x.position - 1 ELSE e.first_seq END) AS seq
                  FROM book_events AS e,
                       LATERAL unnest(e.slots, e.prices, e.volumes) WITH ORDINALITY AS x (slot, price, volume, position)
                 WHERE e.delivery_day = d.delivery_day
                 GROUP BY x.slot, e.side, x.price
               ) AS level
       ) AS l
 WHERE d.delivery_day = $1;
