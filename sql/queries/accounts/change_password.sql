-- Set an account's password and revoke all its tokens, unless another change came first.
-- $1 account id bigint, $2 password hash text, $3 generation that the old password was checked at integer.
-- Columns: token_generation integer.
UPDATE accounts
   SET password_hash = $2, token_generation = token_generation + 1, updated_at = clock_timestamp()
 WHERE id = $1 AND token_generation = $3
RETURNING token_generation;
