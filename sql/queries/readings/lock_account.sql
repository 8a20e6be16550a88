-- Lock an account's own sequence, so that its reports are written one after another. What they have written is read by
-- the next statement: this one's view of other tables may be older than the lock. No row when the account is gone.
-- $1 account id bigint. Columns: last_seq bigint.
SELECT last_seq FROM account_feeds WHERE account_id = $1 FOR UPDATE;
