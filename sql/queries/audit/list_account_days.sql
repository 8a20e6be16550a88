-- What accounts have of a delivery day, in order.
-- $1 delivery day date. Columns: account_id bigint, open_bids integer, first_account_seq bigint, last_account_seq bigint.
SELECT account_id, open_bids, first_account_seq, last_account_seq
  FROM account_days
 WHERE delivery_day = $1
 ORDER BY account_id;
