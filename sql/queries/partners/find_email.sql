-- The e-mail of the partner with this GST number, and how far its verification is.
-- $1 kind text, $2 GST number text, $3 e-mail as compared text. Columns: id bigint, email text,
-- token_generation integer, email_verified_at timestamptz, email_token_jti text, email_token_expires timestamptz.
SELECT id, email, token_generation, email_verified_at, email_token_jti, email_token_expires
  FROM partners
 WHERE kind = $1 AND gst_number = $2 AND email_key = $3;
