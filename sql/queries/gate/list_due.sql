-- Delivery days up to one that are not cleared, the earliest first.
-- $1 delivery day date. Columns: delivery_day date.
SELECT delivery_day FROM delivery_days WHERE state <> 'cleared' AND delivery_day <= $1 ORDER BY delivery_day;
