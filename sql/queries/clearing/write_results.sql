-- What a locked delivery day's auctions came to: the day, its slots, the event that announces it, and the wake-up for
-- those who read the log.
-- $1 delivery day date, $2 batch id bigint, $3 price rule text; for each of the 96 slots: $4 price, $5 low, $6 high, $7
-- volume, $8 buy volume, $9 sell volume bigint[], $10 buy bids, $11 sell bids integer[]. Columns: seq bigint.
WITH reached AS (
    UPDATE delivery_days
       SET state = 'cleared', last_seq = last_seq + 1
     WHERE delivery_day = $1
 RETURNING delivery_day, last_seq
), cleared AS (
    INSERT INTO cleared_days (delivery_day, seq, price_rule)
    SELECT delivery_day, last_seq, $3 FROM reached
 RETURNING delivery_day, seq
), slots AS (
    INSERT INTO cleared_slots
           (delivery_day, slot, price, low, high, volume, buy_volume, sell_volume, buy_bids, sell_bids)
    SELECT cleared.delivery_day, u.slot, u.price, u.low, u.high, u.volume, u.buy_volume, u.sell_volume, u.buy_bids,
           u.sell_bids
      FROM cleared,
           unnest($4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[], $10::integer[],
                  $11::integer[])
           WITH ORDINALITY
           AS u (price, low, high, volume, buy_volume, sell_volume, buy_bids, sell_bids, slot)
 RETURNING slot, price, volume
), logged AS (
    INSERT INTO book_events (delivery_day, first_seq, last_seq, batch_id, kind, slots, prices, volumes)
    SELECT c.delivery_day, c.seq, c.seq, $2, 'clear',
           coalesce(array_agg(s.slot ORDER BY s.slot) FILTER (WHERE s.volume > 0), '{}'),
           coalesce(array_agg(s.price ORDER BY s.slot) FILTER (WHERE s.volume > 0), '{}'),
           coalesce(array_agg(s.volume ORDER BY s.slot) FILTER (WHERE s.volume > 0), '{}')
      FROM cleared AS c, slots AS s
     GROUP BY c.delivery_day, c.seq
 RETURNING delivery_day, last_seq
), announced AS MATERIALIZED (
    SELECT last_seq, pg_notify('shakti_book', delivery_day::text || ' ' || last_seq) FROM logged
)
SELECT last_seq AS seq FROM announced;
