-- Make an account.
-- $1 account type text, $2 connection id text, $3 username text, $4 phone text (E.164), $5 phone as given text,
-- $6 password hash text. Columns: id bigint, connection_id text, password_hash text, token_generation integer.
INSERT INTO accounts (account_type, connection_id, username, phone, phone_as_given, password_hash)
VALUES ($1, $2, $3, $4, $5, $6)
RETURNING id, connection_id, password_hash, token_generation;
