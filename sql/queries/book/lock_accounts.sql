-- Lock the own sequences of accounts, after the delivery day and in the order of their ids, as everyone does; and read
-- what the day's next writer needs to know of them. Counts of a day change under its lock only, so they may be read
-- together with what this statement may have to wait for. An account that is gone is left out.
-- $1 delivery day date, $2 accounts bigint[]. Columns: account_id bigint, last_seq bigint, open_bids integer.
SELECT f.account_id, f.last_seq, coalesce(d.open_bids, 0) AS open_bids
  FROM account_feeds AS f
  LEFT JOIN account_days AS d ON d.account_id = f.account_id AND d.delivery_day = $1
 WHERE f.account_id = ANY ($2::bigint[])
 ORDER BY f.account_id
   FOR UPDATE OF f;
