-- Make an operator.
-- $1 name text, $2 password hash text. Columns: id bigint.
INSERT INTO operators (name, password_hash) VALUES ($1, $2) RETURNING id;
