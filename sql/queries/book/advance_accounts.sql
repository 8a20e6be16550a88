-- Record how far the locked accounts' own sequences go now, and what they hold for a delivery day.
-- $1 delivery day date; for each account: $2 accounts bigint[], $3 first seq of this transaction bigint[], $4 last seq
-- bigint[], $5 open bids integer[]. No columns.
WITH given AS (
    SELECT * FROM unnest($2::bigint[], $3::bigint[], $4::bigint[], $5::integer[])
                  AS u (account_id, first_seq, last_seq, open_bids)
), advanced AS (
    UPDATE account_feeds AS f SET last_seq = g.last_seq FROM given AS g WHERE f.account_id = g.account_id
)
INSERT INTO account_days (account_id, delivery_day, open_bids, first_account_seq, last_account_seq)
SELECT account_id, $1, open_bids, first_seq, last_seq FROM given
ON CONFLICT (account_id, delivery_day) DO UPDATE
   SET open_bids = excluded.open_bids, last_account_seq = excluded.last_account_seq;
