-- What a sign-in is checked against.
-- $1 account type text, $2 phone text. Columns: id bigint, connection_id text, password_hash text,
-- token_generation integer.
SELECT id, connection_id, password_hash, token_generation
  FROM accounts
 WHERE account_type = $1 AND phone = $2;
