-- Which unique values of a new partner are taken; a null one is not.
-- $1 kind text, $2 e-mail as compared text, $3 GST number text, $4 phone numbers text[] (E.164).
-- Columns: email boolean, gst boolean, phone boolean.
SELECT EXISTS (SELECT FROM partners WHERE kind = $1 AND email_key = $2) AS email,
       EXISTS (SELECT FROM partners WHERE kind = $1 AND gst_number = $3) AS gst,
       EXISTS (SELECT FROM partner_phones WHERE kind = $1 AND phone = ANY ($4)) AS phone;
