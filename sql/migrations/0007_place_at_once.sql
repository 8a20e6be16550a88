-- The short way into the book: a batch of placements that nothing stands in the way of, in one statement, so that no
-- lock is held while a process of ours has something else to do. Everything else (a change, a withdrawal, a key that was
-- used, a gate that closes, a limit that is reached) goes the long way, statement by statement.

-- Batches whose statement went unanswered. It may still be on its way to the server: whoever tries its commands again
-- writes it down here, under the day's lock, so that it does nothing when it arrives.
CREATE TABLE abandoned_batches (
    batch_id   bigint CONSTRAINT abandoned_batches_pkey PRIMARY KEY,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Places all bids of a batch and returns the day's last sequence number before it, or does nothing and returns null.
--
-- Its statements have a snapshot each, so every one sees what those before it had to wait for: the day's lock, then the
-- clock, the locks of the accounts in the order of their ids, their keys. Parts of one statement would all see what was
-- there at its beginning, before any lock was had.
--
-- Every look-up is one in an index for each element, whatever the tables held when a connection made its plans: a join
-- might go through all of a table.
--
-- added is the volume of all bids together, and most_volume what the volume ever placed may come to; most_bids is how
-- many open bids an account may have on the day. No lock is waited for longer than most_wait, like 2500ms: the statement
-- fails then, so that who gave up does not find later that it was done all the same. Array by array:
--   for each placement, in the order of the log: offsets (its first bid is number result + 1 + offset), counts (of its
--   bids), account_ids, ranks (1 for its account's first one in this batch, then 2, ...), sides; slots, prices, volumes
--   (each element an array literal itself)
--   for each account: ids, placements and bids (how many of each)
--   for each key: key_accounts, key_scopes and key_digests (hexadecimal), key_offsets (of the placement that it names)
CREATE FUNCTION place_at_once(
    day date, gate_at timestamptz, batch bigint, added numeric, most_volume numeric, most_bids integer,
    key_lifetime interval,
    offsets bigint[], counts integer[], account_ids bigint[], ranks integer[], sides text[],
    slots text[], prices text[], volumes text[],
    ids bigint[], placements integer[], bids integer[],
    key_accounts bigint[], key_scopes text[], key_digests text[], key_offsets bigint[],
    most_wait text
) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    base  bigint;
    bound numeric;
    found_accounts integer;
BEGIN
    PERFORM set_config('lock_timeout', most_wait, true);
    SELECT d.last_seq, d.volume_bound INTO base, bound
      FROM delivery_days AS d
     WHERE d.delivery_day = day AND d.state = 'open'
       FOR UPDATE;
    IF NOT FOUND OR clock_timestamp() >= gate_at OR bound + added > most_volume
       OR EXISTS (SELECT FROM abandoned_batches AS a WHERE a.batch_id = batch) THEN
        RETURN NULL;
    END IF;

    PERFORM FROM account_feeds AS f WHERE f.account_id = ANY (ids) ORDER BY f.account_id FOR UPDATE;
    GET DIAGNOSTICS found_accounts = ROW_COUNT;
    IF found_accounts < cardinality(ids)
       OR EXISTS (
           SELECT FROM unnest(ids, bids) AS u (id, bids)
            WHERE u.bids + coalesce(
                      (SELECT d.open_bids FROM account_days AS d WHERE d.account_id = u.id AND d.delivery_day = day), 0
                  ) > most_bids
       )
       OR EXISTS (
           SELECT FROM unnest(key_accounts, key_scopes) AS u (account_id, scope)
            WHERE (
                   SELECT k.created_at > clock_timestamp() - key_lifetime
                     FROM idempotency_keys AS k
                    WHERE k.account_id = u.account_id AND k.scope = decode(u.scope, 'hex')
                  )
       ) THEN
        RETURN NULL;
    END IF;

    WITH logged AS (
        INSERT INTO book_events (
            delivery_day, batch_id, first_seq, last_seq, account_id, account_seq, kind, side, slots, prices, volumes
        )
        SELECT day, batch, base + 1 + r.start, base + r.start + r.bids, r.account_id,
               r.rank + (SELECT f.last_seq FROM account_feeds AS f WHERE f.account_id = r.account_id), 'place',
               r.side::"char", r.slots::smallint[], r.prices::bigint[], r.volumes::bigint[]
          FROM unnest(offsets, counts, account_ids, ranks, sides, slots, prices, volumes)
               AS r (start, bids, account_id, rank, side, slots, prices, volumes)
    ), advanced AS (
        UPDATE account_feeds AS f
           SET last_seq = f.last_seq + u.placements
          FROM unnest(ids, placements, bids) AS u (id, placements, bids)
         WHERE f.account_id = u.id AND f.account_id = ANY (ids)
     RETURNING f.account_id, f.last_seq - u.placements + 1 AS first_seq, f.last_seq, u.bids
    ), counted AS (
        INSERT INTO account_days AS d (account_id, delivery_day, open_bids, first_account_seq, last_account_seq)
        SELECT a.account_id, day, a.bids, a.first_seq, a.last_seq FROM advanced AS a
        ON CONFLICT (account_id, delivery_day) DO UPDATE
           SET open_bids = d.open_bids + excluded.open_bids, last_account_seq = excluded.last_account_seq
    ), kept AS (
        -- A key that is there already outlived its time, or it would have been found: it is taken over.
        INSERT INTO idempotency_keys (account_id, scope, body_sha256, delivery_day, first_seq)
        SELECT u.account_id, decode(u.scope, 'hex'), decode(u.digest, 'hex'), day, base + 1 + u.start
          FROM unnest(key_accounts, key_scopes, key_digests, key_offsets) AS u (account_id, scope, digest, start)
        ON CONFLICT (account_id, scope) DO UPDATE
           SET body_sha256 = excluded.body_sha256, response = NULL, delivery_day = excluded.delivery_day,
               first_seq = excluded.first_seq, created_at = clock_timestamp()
    )
    UPDATE delivery_days AS d
       SET last_seq = base + (SELECT sum(c) FROM unnest(counts) AS c), volume_bound = bound + added
     WHERE d.delivery_day = day
 RETURNING d.last_seq INTO STRICT bound;
    PERFORM pg_notify('shakti_book', day::text || ' ' || bound::bigint);
    RETURN base;
END $$;
