-- Which of these tokens of accounts and operators are still worth something: neither revoked alone nor with all of their
-- generation, and their subject exists.
-- for each token: $1 subject ids bigint[], $2 generations integer[], $3 jtis text[], $4 whether it is an operator's
-- boolean[]. Columns: jti text.
SELECT u.jti
  FROM unnest($1::bigint[], $2::integer[], $3::text[], $4::boolean[]) AS u (subject, generation, jti, is_operator)
 WHERE NOT EXISTS (SELECT FROM revoked_tokens AS r WHERE r.jti = u.jti)
   AND CASE
       WHEN u.is_operator
       THEN EXISTS (SELECT FROM operators AS o WHERE o.id = u.subject AND o.token_generation = u.generation)
       ELSE EXISTS (SELECT FROM accounts AS a WHERE a.id = u.subject AND a.token_generation = u.generation)
       END;
