-- The delivery days that were used, from a day on, and how far their logs go.
-- $1 first delivery day date. Columns: delivery_day date, last_seq bigint.
SELECT delivery_day, last_seq FROM delivery_days WHERE delivery_day >= $1 ORDER BY delivery_day;
