-- Every bid that stands in a delivery day's book, in no order. Read in binary, every row as long as the next: see
-- storage/clearing.py, which knows this list of columns.
-- $1 delivery day date. Columns: bid_seq bigint, priority bigint: the event of its last change, or its own; account_id
-- bigint, slot smallint, side "char", price bigint, volume bigint.
SELECT b.bid_seq,
       coalesce(c.seq, b.bid_seq) AS priority,
       b.account_id,
       b.slot,
       b.side,
       coalesce(c.price, b.price) AS price,
       coalesce(c.volume, b.volume) AS volume
  FROM (
        -- Expanded in step, as a join would have to be guessed at by the planner.
        SELECT e.account_id, e.side,
               generate_series(e.first_seq, e.last_seq) AS bid_seq,
               unnest(e.slots) AS slot,
               unnest(e.prices) AS price,
               unnest(e.volumes) AS volume
          FROM book_events AS e
         WHERE e.delivery_day = $1 AND e.kind = 'place'
       ) AS b
  LEFT JOIN changed_bids AS c ON c.delivery_day = $1 AND c.bid_seq = b.bid_seq
 WHERE c.is_withdrawn IS NOT TRUE;
