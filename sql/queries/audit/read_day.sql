-- How far a delivery day has come, and whether it has a clearing. No row when nothing is known of it.
-- $1 delivery day date. Columns: state text, last_seq bigint: of the day, null when only its log or its results are
-- there; seq bigint, price_rule text: of its clearing, null without one; has_results boolean, whether any row of results
-- is there.
SELECT d.state, d.last_seq, c.seq, c.price_rule, r.has_results
  FROM (
        SELECT $1::date AS delivery_day,
               EXISTS (SELECT FROM cleared_days WHERE delivery_day = $1)
               OR EXISTS (SELECT FROM fills WHERE delivery_day = $1)
               OR EXISTS (SELECT FROM cleared_positions WHERE delivery_day = $1) AS has_results
       ) AS r
  LEFT JOIN delivery_days AS d USING (delivery_day)
  LEFT JOIN cleared_days AS c USING (delivery_day)
 WHERE d.delivery_day IS NOT NULL OR r.has_results OR EXISTS (SELECT FROM book_events WHERE delivery_day = $1);
