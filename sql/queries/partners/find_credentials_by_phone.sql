-- What a sign-in by either of a partner's numbers is checked against.
-- $1 kind text, $2 phone text (E.164). Columns: id bigint, company_name text, email text,
-- owner_contact_number text, password_hash text, token_generation integer.
SELECT p.id, p.company_name, p.email, p.owner_contact_number, p.password_hash, p.token_generation
  FROM partner_phones AS n
  JOIN partners AS p ON p.id = n.partner_id
 WHERE n.kind = $1 AND n.phone = $2;
