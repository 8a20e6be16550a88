-- A delivery day's positions whose number in their account's own sequence another event of it has, or which lies beyond
-- the account's last number.
-- $1 delivery day date. Columns: account_id bigint, account_seq bigint.
SELECT p.account_id, p.account_seq
  FROM cleared_positions AS p
 WHERE p.delivery_day = $1
   AND (
        EXISTS (SELECT FROM book_events AS e WHERE e.account_id = p.account_id AND e.account_seq = p.account_seq)
        OR EXISTS (SELECT FROM readings AS r WHERE r.account_id = p.account_id AND r.account_seq = p.account_seq)
        OR EXISTS (
            SELECT FROM cleared_positions AS o
             WHERE o.account_id = p.account_id AND o.account_seq = p.account_seq AND o.delivery_day <> p.delivery_day
        )
        OR p.account_seq > (SELECT f.last_seq FROM account_feeds AS f WHERE f.account_id = p.account_id)
       )
 ORDER BY p.account_id;
