-- How far a delivery day has come. No row when nobody used it.
-- $1 delivery day date. Columns: state text, last_seq bigint; seq bigint, price_rule text, cleared_at timestamptz: of its
-- clearing, null before.
SELECT d.state, d.last_seq, c.seq, c.price_rule, c.cleared_at
  FROM delivery_days AS d
  LEFT JOIN cleared_days AS c USING (delivery_day)
 WHERE d.delivery_day = $1;
