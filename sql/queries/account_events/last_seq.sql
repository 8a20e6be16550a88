-- The number of an account's last event.
-- $1 account id bigint. Columns: last_seq bigint.
SELECT last_seq FROM account_feeds WHERE account_id = $1;
