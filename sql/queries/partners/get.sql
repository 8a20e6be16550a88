-- A partner as its holder sees it.
-- $1 partner id bigint. Columns: of partners without the password's hash and the link's token, and
-- is_email_verified, is_phone_verified, is_owner_contact_verified boolean.
SELECT id, kind, owner_name, owner_contact_number, phone_number, email, company_name, company_address, gst_number,
       created_at, updated_at, email_verified_at IS NOT NULL AS is_email_verified,
       EXISTS (SELECT FROM verified_phones WHERE phone = phone_e164) AS is_phone_verified,
       EXISTS (SELECT FROM verified_phones WHERE phone = owner_contact_e164) AS is_owner_contact_verified
  FROM partners
 WHERE id = $1;
