-- The e-mail of a partner, and how far its verification is.
-- $1 partner id bigint. Columns: id bigint, email text, token_generation integer,
-- email_verified_at timestamptz, email_token_jti text, email_token_expires timestamptz.
SELECT id, email, token_generation, email_verified_at, email_token_jti, email_token_expires
  FROM partners
 WHERE id = $1;
