-- What an operator's sign-in is checked against.
-- $1 name text. Columns: id bigint, password_hash text, token_generation integer.
SELECT id, password_hash, token_generation FROM operators WHERE name = $1;
