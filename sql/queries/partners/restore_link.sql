-- Put the link before back in the place of one that was not sent, unless a later one stands there or it was used.
-- $1 partner id bigint, $2 jti not sent text, $3 jti before text or null, $4 its expiry timestamptz or null. No columns.
UPDATE partners
   SET email_token_jti = $3, email_token_expires = $4
 WHERE id = $1 AND email_token_jti = $2 AND email_verified_at IS NULL;
