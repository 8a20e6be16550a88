-- How many open bids accounts hold for a delivery day; accounts without any are left out.
-- $1 delivery day date, $2 accounts bigint[]. Columns: account_id bigint, open_bids integer.
SELECT account_id, open_bids FROM account_days WHERE delivery_day = $1 AND account_id = ANY ($2::bigint[]);
