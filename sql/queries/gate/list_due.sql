-- Delivery days whose session is to be ended: all that are closed, and those up to one that are open, the earliest first.
-- $1 delivery day date. Columns: delivery_day date.
SELECT delivery_day
  FROM delivery_days
 WHERE state = 'closed' OR (state = 'open' AND delivery_day <= $1)
 ORDER BY delivery_day;
