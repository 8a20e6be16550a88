-- Write what a batch did to one delivery day, all of it: the rows of the event log, the bids that were changed, how far
-- the day and the accounts have come, the clients' keys; and wake those who read the log. The day and the accounts are
-- locked. A key that is there already outlived its time, or it would have been found under its account's lock: it is
-- taken over.
-- All arrays but $20 come as literals, see storage/arrays.py; in $13..$15 each element is one itself.
-- $1 delivery day date, $2 batch id bigint, $3 last seq bigint, $4 volume bound numeric, $5 state text;
-- for each row of the log: $6 first seq bigint[], $7 last seq bigint[], $8 account bigint[], $9 account seq bigint[],
-- $10 bid seq bigint[], $11 kind text[], $12 side text[], $13 slots text[], $14 prices text[], $15 volumes text[];
-- for each changed bid: $16 bid seq bigint[], $17 seq of the change bigint[], $18 price bigint[], $19 volume bigint[],
-- $20 withdrawn boolean[];
-- for each account: $21 account bigint[], $22 first seq in this batch bigint[], $23 last seq bigint[], $24 open bids
-- integer[];
-- for each key: $25 account bigint[], $26 scope text[] and $27 body digest text[] in hexadecimal, $28 first seq of the row
-- that answers it bigint[]. Columns: pg_notify void.
WITH logged AS (
    INSERT INTO book_events (
        delivery_day, batch_id, first_seq, last_seq, account_id, account_seq, bid_seq, kind, side, slots, prices, volumes
    )
    SELECT $1, $2, r.first_seq, r.last_seq, r.account_id, r.account_seq, r.bid_seq, r.kind, r.side::"char",
           r.slots::smallint[], r.prices::bigint[], r.volumes::bigint[]
      FROM unnest($6::text::bigint[], $7::text::bigint[], $8::text::bigint[], $9::text::bigint[], $10::text::bigint[],
                  $11::text::text[], $12::text::text[], $13::text::text[], $14::text::text[], $15::text::text[])
           AS r (first_seq, last_seq, account_id, account_seq, bid_seq, kind, side, slots, prices, volumes)
), changed AS (
    INSERT INTO changed_bids (delivery_day, bid_seq, seq, price, volume, is_withdrawn)
    SELECT $1, u.bid_seq, u.seq, u.price, u.volume, u.is_withdrawn
      FROM unnest($16::text::bigint[], $17::text::bigint[], $18::text::bigint[], $19::text::bigint[], $20::boolean[])
           AS u (bid_seq, seq, price, volume, is_withdrawn)
    ON CONFLICT (delivery_day, bid_seq) DO UPDATE
       SET seq = excluded.seq, price = excluded.price, volume = excluded.volume, is_withdrawn = excluded.is_withdrawn
), moved AS (
    SELECT *
      FROM unnest($21::text::bigint[], $22::text::bigint[], $23::text::bigint[], $24::text::integer[])
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
    SELECT u.account_id, decode(u.scope, 'hex'), decode(u.body_sha256, 'hex'), $1, u.first_seq
      FROM unnest($25::text::bigint[], $26::text::text[], $27::text::text[], $28::text::bigint[])
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
