-- The account that a token speaks for, unless the token or all tokens of its generation were revoked.
-- $1 account id bigint, $2 token generation integer, $3 jti text. Columns: kind text.
SELECT account_type AS kind
  FROM accounts
 WHERE id = $1 AND token_generation = $2
   AND NOT EXISTS (SELECT FROM revoked_tokens WHERE jti = $3);
