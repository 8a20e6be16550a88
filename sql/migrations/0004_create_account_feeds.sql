-- Each account's own sequence: everything that its own feed shows has a number, 1, 2, 3, ... per account, taken in the
-- transaction that writes it, under the lock of the account's row here. Rows are locked in the order of their ids, after
-- a delivery day's.

CREATE TABLE account_feeds (
    account_id bigint CONSTRAINT account_feeds_pkey PRIMARY KEY
               CONSTRAINT account_feeds_account_exists REFERENCES accounts (id) ON DELETE CASCADE,
    last_seq   bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50); -- each row is rewritten often, and finds room on its own page

-- Every account has its row from the start, so that a lock on it is always there to be had.
CREATE FUNCTION open_account_feed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO account_feeds (account_id) VALUES (NEW.id);
    RETURN NULL;
END $$;
CREATE TRIGGER account_feeds_are_opened AFTER INSERT ON accounts
    FOR EACH ROW EXECUTE FUNCTION open_account_feed();

-- The number of the row's event in its account's own sequence: one for a whole placement. Null for the gate.
ALTER TABLE book_events ADD COLUMN account_seq bigint;
UPDATE book_events AS e
   SET account_seq = n.account_seq
  FROM (
        SELECT delivery_day, first_seq, row_number() OVER (PARTITION BY account_id ORDER BY at, delivery_day, first_seq)
               AS account_seq
          FROM book_events
         WHERE account_id IS NOT NULL
       ) AS n
 WHERE e.delivery_day = n.delivery_day AND e.first_seq = n.first_seq;
INSERT INTO account_feeds (account_id, last_seq)
SELECT a.id, coalesce((SELECT max(account_seq) FROM book_events AS e WHERE e.account_id = a.id), 0)
  FROM accounts AS a;
ALTER TABLE book_events ADD CONSTRAINT book_events_of_an_account_are_numbered
      CHECK ((account_id IS NULL) = (account_seq IS NULL));

-- One index for both readings of an account's events: the feed's, beyond a number; and the listing of a day's bids,
-- between the numbers of the account's first and last event of that day.
DROP INDEX book_events_by_account;
CREATE INDEX book_events_by_account ON book_events (account_id, account_seq) WHERE account_id IS NOT NULL;
ALTER TABLE account_days ADD COLUMN first_account_seq bigint, ADD COLUMN last_account_seq bigint;
UPDATE account_days AS d
   SET first_account_seq = n.first_account_seq, last_account_seq = n.last_account_seq
  FROM (
        SELECT account_id, delivery_day, min(account_seq) AS first_account_seq, max(account_seq) AS last_account_seq
          FROM book_events
         WHERE account_id IS NOT NULL
         GROUP BY account_id, delivery_day
       ) AS n
 WHERE d.account_id = n.account_id AND d.delivery_day = n.delivery_day;
ALTER TABLE account_days ALTER COLUMN first_account_seq SET NOT NULL, ALTER COLUMN last_account_seq SET NOT NULL;
