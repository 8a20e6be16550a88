-- Lock the feeds of all accounts that took part, in the order of their ids, as every writer does. Columns: accounts bigint.
SELECT count(*) AS accounts
  FROM (
        SELECT account_id
          FROM account_feeds
         WHERE account_id IN (SELECT account_id FROM gathered)
         ORDER BY account_id
           FOR UPDATE
       ) AS locked;
