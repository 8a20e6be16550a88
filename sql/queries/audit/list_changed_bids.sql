-- The present state of a delivery day's changed and withdrawn bids, in order.
-- $1 delivery day date. Columns: bid_seq bigint, seq bigint, price bigint, volume bigint, is_withdrawn boolean.
SELECT bid_seq, seq, price, volume, is_withdrawn FROM changed_bids WHERE delivery_day = $1 ORDER BY bid_seq;
