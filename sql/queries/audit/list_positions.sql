-- What a delivery day's auction gave accounts, in order.
-- $1 delivery day date. Columns: account_id bigint, account_seq bigint, slots smallint[], volumes bigint[].
SELECT account_id, account_seq, slots, volumes FROM cleared_positions WHERE delivery_day = $1 ORDER BY account_id;
