-- What a delivery day's bids were filled, in order.
-- $1 delivery day date. Columns: bid_seq bigint, volume bigint.
SELECT bid_seq, volume FROM fills WHERE delivery_day = $1 ORDER BY bid_seq;
