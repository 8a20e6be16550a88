-- What an account's own password is checked against.
-- $1 account id bigint. Columns: id bigint, connection_id text, password_hash text, token_generation integer.
SELECT id, connection_id, password_hash, token_generation FROM accounts WHERE id = $1;
