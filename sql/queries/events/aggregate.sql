-- A stretch of a delivery day's log, added up level by level, levels that come to zero included: one statement, hence
-- one snapshot. The rows that begin in the stretch count wholly. No row when nobody used the day yet.
-- $1 delivery day date, $2 the stretch begins after this seq bigint, $3 and is so many events long bigint.
-- Columns: state text, last_seq bigint: of the day; stretch_seq bigint: the last event of the stretch, $2 if it is empty;
-- closed_seq, cleared_seq bigint: the events of the gate and of the auction if they are in the stretch, else null; the
-- levels as parallel arrays, in no order: slots smallint[], sides text[], prices bigint[], volumes bigint[], bids bigint[],
-- seqs bigint[]: of the last change within the stretch.
SELECT d.state, d.last_seq, s.stretch_seq, s.closed_seq, s.cleared_seq, l.slots, l.sides, l.prices, l.volumes, l.bids, l.seqs
  FROM delivery_days AS d
 CROSS JOIN LATERAL (
        SELECT coalesce(max(e.last_seq), $2::bigint) AS stretch_seq,
               max(e.first_seq) FILTER (WHERE e.kind = 'close') AS closed_seq,
               max(e.first_seq) FILTER (WHERE e.kind = 'clear') AS cleared_seq
          FROM book_events AS e
         WHERE e.delivery_day = d.delivery_day AND e.first_seq > $2 AND e.first_seq <= $2 + $3::bigint
       ) AS s
 CROSS JOIN LATERAL (
        SELECT coalesce(array_agg(slot), '{}') AS slots,
               coalesce(array_agg(side::text), '{}') AS sides,
               coalesce(array_agg(price), '{}') AS prices,
               coalesce(array_agg(volume), '{}') AS volumes,
               coalesce(array_agg(bids), '{}') AS bids,
               coalesce(array_agg(seq), '{}') AS seqs
          FROM (
                SELECT slot, side, price,
                       sum(volume)::bigint AS volume,
                       sum(CASE WHEN volume > 0 THEN 1 ELSE -1 END) AS bids,
                       max(coalesce(seq, first_seq)) AS seq
                  FROM (
                        -- Expanded in step: a placement has an event for each element, a change one for both of its.
                        SELECT e.side, e.first_seq,
                               unnest(e.slots) AS slot,
                               unnest(e.prices) AS price,
                               unnest(e.volumes) AS volume,
                               generate_series(e.first_seq, e.last_seq) AS seq
                          FROM book_events AS e
                         WHERE e.delivery_day = d.delivery_day AND e.first_seq > $2 AND e.first_seq <= $2 + $3
                           -- What the auction came to is no level.
                           AND e.kind <> 'clear'
                       ) AS element
                 -- The gate's event has no element, and still a number.
                 WHERE slot IS NOT NULL
                 GROUP BY slot, side, price
               ) AS level
       ) AS l
 WHERE d.delivery_day = $1;
