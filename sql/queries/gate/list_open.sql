-- Delivery days up to one that are still open in the log.
-- $1 delivery day date. Columns: delivery_day date.
SELECT delivery_day FROM delivery_days WHERE state = 'open' AND delivery_day <= $1 ORDER BY delivery_day;
