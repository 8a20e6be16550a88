-- Where what accounts are given is put together before it is written: gone with the transaction. No columns.
CREATE TEMPORARY TABLE given (account_id bigint NOT NULL, slot smallint, volume bigint) ON COMMIT DROP;
