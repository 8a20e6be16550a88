-- Make a token the one verification link of a partner, unless the e-mail is verified already.
-- $1 partner id bigint, $2 jti text, $3 expiry timestamptz. Columns: the link before, jti text, expires timestamptz.
WITH earlier AS (
    SELECT id, email_token_jti AS jti, email_token_expires AS expires
      FROM partners
     WHERE id = $1 AND email_verified_at IS NULL
       FOR UPDATE
)
UPDATE partners
   SET email_token_jti = $2, email_token_expires = $3
  FROM earlier
 WHERE partners.id = earlier.id
RETURNING earlier.jti, earlier.expires;
