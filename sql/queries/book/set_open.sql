-- Record how many open bids accounts hold for a delivery day.
-- $1 delivery day date, $2 accounts bigint[], $3 counts integer[]. No columns.
INSERT INTO account_days (account_id, delivery_day, open_bids)
SELECT u.account_id, $1, u.open_bids
  FROM unnest($2::bigint[], $3::integer[]) AS u (account_id, open_bids)
ON CONFLICT (account_id, delivery_day) DO UPDATE SET open_bids = excluded.open_bids;
