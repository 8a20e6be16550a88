-- What a sign-in by e-mail is checked against.
-- $1 kind text, $2 e-mail as compared text. Columns: id bigint, company_name text, email text,
-- owner_contact_number text, password_hash text, token_generation integer.
SELECT id, company_name, email, owner_contact_number, password_hash, token_generation
  FROM partners
 WHERE kind = $1 AND email_key = $2;
