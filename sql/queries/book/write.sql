-- Write what a batch did to one delivery day, all of it: the rows of the event log, the bids that were changed, how far
-- the day and the accounts have come, the clients' keys; and wake those who read the log. The day and the accounts are
-- locked. The arrays of all rows stand one after another in $14..$16; each row takes its length's share from where the
-- one before it ended. A key that is there already outlived its time, or it would have been found under its account's
-- lock: it is taken over.
-- $1 delivery day date, $2 batch id bigint, $3 last seq bigint, $4 volume bound numeric, $5 state text;
-- for each row of the log: $6 first seq bigint[], $7 last seq bigint[], $8 account bigint[], $9 account seq bigint[],
-- $10 bid seq bigint[], $11 kind text[], $12 side text[], $13 length of its arrays integer[];
-- for each element: $14 slots smallint[], $15 prices bigint[], $16 volumes bigint[];
-- for each changed bid: $17 bid seq bigint[], $18 seq of the change bigint[], $19 price bigint[], $20 volume bigint[],
-- $21 withdrawn boolean[];
-- for each account: $22 account bigint[], $23 first seq in this batch bigint[], $24 last seq bigint[], $25 open bids
-- integer[];
-- for each key: $26 account bigint[], $27 scope bytea[], $28 body digest bytea[], $29 first seq of the row that answers it
-- bigint[]. Columns: pg_notify void.
WITH logged AS (
    INSERT INTO book_events (
        delivery_day, batch_id, first_seq, last_seq, account_id, account_seq, bid_seq, kind, side, slots, prices, volumes
    )
    SELECT $1, $2, r.first_seq, r.last_seq, r.account_id, r.account_seq, r.bid_seq, r.kind, r.side::"char",
           ($14::smallint[])[r.past + 1 : r.past + r.length],
           ($15::bigint[])[r.past + 1 : r.past + r.length],
           ($16::bigint[])[r.past + 1 : r.past + r.length]
      FROM (
            SELECT u.*, (sum(u.length) OVER (ORDER BY u.first_seq) - u.length)::integer AS past
              FROM unnest($6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[], $11::text[],
                          $12::text[], $13::integer[])
                   AS u (first_seq, last_seq, account_id, account_seq, bid_seq, kind, side, length)
           ) AS r
), changed AS (
    INSERT INTO changed_bids (delivery_day, bid_seq, seq, price, volume, is_withdrawn)
    SELECT $1, u.bid_seq, u.seq, u.price, u.volume, u.is_withdrawn
      FROM unnest($17::bigint[], $18::bigint[], $19::bigint[], $20::bigint[], $21::boolean[])
           AS u (bid_seq, seq, price, volume, is_withdrawn)
    ON CONFLICT (delivery_day, bid_seq) DO UPDATE
       SET seq = excluded.seq, price = excluded.price, volume = excluded.volume, is_withdrawn = excluded.is_withdrawn
), moved AS (
    SELECT *
      FROM unnest($22::bigint[], $23::bigint[], $24::bigint[], $25::integer[])
           AS u (account_id, first_seq, last_seq, open_bids)
), advanced AS (
    UPDATE account_feeds AS f SET last_seq = m.last_seq FROM moved AS m WHERE f.account_id = m.account_id
), counted AS (
    INSERT INTO account_days (account_id, delivery_day, open_bids, first_account_seq, last_account_seq)
    SELECT account_id, $1, open_bids, first_seq, last_seq FROM moved
    ON CONFLICT (account_id, delivery_day) DO UPDATE
       SET open_bids = excluded.open_bids, last_account_seq = excluded.last_account_seq
), kept AS (
    INSERT INTO idempotency_keys (account_id, scope, body_sha256, delivery_day, first_seq)
    SELECT u.account_id, u.scope, u.body_sha256, $1, u.first_seq
      FROM unnest($26::bigint[], $27::bytea[], $28::bytea[], $29::bigint[])
           AS u (account_id, scope, body_sha256, first_seq)
    ON CONFLICT (account_id, scope) DO UPDATE
       SET body_sha256 = excluded.body_sha256, response = NULL, delivery_day = excluded.delivery_day,
           first_seq = excluded.first_seq, created_at = clock_timestamp()
), reached AS (
    UPDATE delivery_days
       SET last_seq = $3, volume_bound = $4, state = $5
     WHERE delivery_day = $1
 RETURNING delivery_day, last_seq
)
SELECT pg_notify('shakti_book', delivery_day::text || ' ' || last_seq) FROM reached;
