-- Make a partner with both numbers. Keys are taken in one order by everybody - e-mail, GST number, numbers sorted - so
-- that registrations which collide wait for each other and never in a circle.
-- $1 kind text, $2 owner name text, $3 owner contact number text (as given), $4 the same (E.164),
-- $5 phone number text (as given), $6 the same (E.164), $7 e-mail text, $8 e-mail as compared text,
-- $9 password hash text, $10 company name text, $11 company address text, $12 GST number text.
-- Columns: id bigint, created_at timestamptz, updated_at timestamptz, token_generation integer.
WITH made AS (
    INSERT INTO partners (kind, owner_name, owner_contact_number, owner_contact_e164, phone_number, phone_e164, email,
                          email_key, password_hash, company_name, company_address, gst_number, created_at, updated_at)
    SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, now, now
      FROM clock_timestamp() AS now
    RETURNING id, kind, created_at, updated_at, token_generation
), numbers AS (
    INSERT INTO partner_phones (kind, phone, partner_id)
    SELECT made.kind, number.phone, made.id
      FROM made, (SELECT DISTINCT phone FROM unnest(ARRAY[$4, $6]) AS phone) AS number
     ORDER BY number.phone
)
SELECT id, created_at, updated_at, token_generation FROM made;
