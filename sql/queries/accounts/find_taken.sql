-- Which unique values of a new account are taken.
-- $1 account type text, $2 connection id text, $3 phone text. Columns: phone boolean, connection boolean.
SELECT EXISTS (SELECT FROM accounts WHERE account_type = $1 AND phone = $3) AS phone,
       EXISTS (SELECT FROM accounts WHERE account_type = $1 AND connection_id = $2) AS connection;
