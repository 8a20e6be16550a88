-- Record an e-mail as verified by its valid link: of two that try it at once, one does.
-- $1 partner id bigint, $2 jti text. Columns: id bigint.
UPDATE partners
   SET email_verified_at = clock_timestamp(), updated_at = clock_timestamp()
 WHERE id = $1 AND email_token_jti = $2 AND email_verified_at IS NULL
RETURNING id;
