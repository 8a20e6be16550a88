-- A delivery day and, once it is cleared, its auction; without a day the last one that was cleared. No row for a day
-- that the log does not know, and while no day was cleared.
-- $1 delivery day date or null.
-- Columns: delivery_day date, state text; null while not cleared: seq bigint, price_rule text, cleared_at timestamptz.
SELECT d.delivery_day, d.state, c.seq, c.price_rule, c.cleared_at
  FROM delivery_days AS d
  LEFT JOIN cleared_days AS c ON c.delivery_day = d.delivery_day
 WHERE d.delivery_day = coalesce($1::date, (SELECT max(l.delivery_day) FROM cleared_days AS l));
