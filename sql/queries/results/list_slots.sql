-- What every slot of a cleared day came to, in their order.
-- $1 delivery day date.
-- Columns: slot smallint, price bigint, low bigint, high bigint (all three null where nothing cleared), volume bigint,
-- buy_volume bigint, sell_volume bigint, buy_bids integer, sell_bids integer.
SELECT slot, price, low, high, volume, buy_volume, sell_volume, buy_bids, sell_bids
  FROM cleared_slots
 WHERE delivery_day = $1
 ORDER BY slot;
