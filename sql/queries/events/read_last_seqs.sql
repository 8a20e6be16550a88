-- How far the logs of delivery days go. Days that nobody used are left out.
-- $1 delivery days date[]. Columns: delivery_day date, last_seq bigint.
SELECT delivery_day, last_seq FROM delivery_days WHERE delivery_day = ANY ($1::date[]) ORDER BY delivery_day;
