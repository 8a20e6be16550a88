-- The present state of bids of a delivery day, by the number of the event that placed them.
-- $1 delivery day date, $2 bid seqs bigint[].
-- Columns: bid_seq bigint, account_id bigint, side text, slot smallint, price bigint, volume bigint, is_withdrawn boolean.
SELECT w.bid_seq,
       p.account_id,
       p.side::text AS side,
       p.slots[w.bid_seq - p.first_seq + 1] AS slot,
       coalesce(c.price, p.prices[w.bid_seq - p.first_seq + 1]) AS price,
       coalesce(c.volume, p.volumes[w.bid_seq - p.first_seq + 1]) AS volume,
       coalesce(c.is_withdrawn, false) AS is_withdrawn
  FROM unnest($2::bigint[]) AS w (bid_seq)
 CROSS JOIN LATERAL (
        SELECT * FROM book_events
         WHERE delivery_day = $1 AND first_seq <= w.bid_seq
         ORDER BY first_seq DESC
         LIMIT 1
       ) AS p
  LEFT JOIN changed_bids AS c ON c.delivery_day = $1 AND c.bid_seq = w.bid_seq
 WHERE p.kind = 'place' AND w.bid_seq <= p.last_seq;
