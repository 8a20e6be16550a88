-- The operator that a token speaks for, unless the token or all tokens of its generation were revoked.
-- $1 operator id bigint, $2 token generation integer, $3 jti text. Columns: kind text.
SELECT 'operator' AS kind
  FROM operators
 WHERE id = $1 AND token_generation = $2
   AND NOT EXISTS (SELECT FROM revoked_tokens WHERE jti = $3);
