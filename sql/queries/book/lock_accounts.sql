-- Lock the own sequences of accounts, after the delivery day and in the order of their ids, as everyone does; and read
-- what the day's next writer needs to know of them. Counts of a day change under its lock only, so they may be read
-- together with what this statement may have to wait for. Each count is one look-up in the index, also where the plan
-- was made while the table was small. An account that is gone is left out.
-- $1 delivery day date, $2 accounts bigint[] as a literal. Columns: account_id bigint, last_seq bigint, open_bids integer.
SELECT f.account_id,
       f.last_seq,
       coalesce((SELECT d.open_bids FROM account_days AS d WHERE d.account_id = f.account_id AND d.delivery_day = $1), 0)
           AS open_bids
  FROM account_feeds AS f
 WHERE f.account_id = ANY ($2::text::bigint[])
 ORDER BY f.account_id
   FOR UPDATE OF f;
