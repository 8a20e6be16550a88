-- What a delivery day's slots cleared, in order.
-- $1 delivery day date. Columns: slot smallint, price bigint or null, low bigint or null, high bigint or null, volume
-- bigint, buy_volume bigint, sell_volume bigint, buy_bids integer, sell_bids integer.
SELECT slot, price, low, high, volume, buy_volume, sell_volume, buy_bids, sell_bids
  FROM cleared_slots
 WHERE delivery_day = $1
 ORDER BY slot;
