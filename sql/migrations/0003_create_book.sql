-- The day-ahead book: delivery days, the append-only event log, bids changed since they were placed, idempotency keys.
-- Prices and volumes are whole ticks.

CREATE TABLE delivery_days (
    delivery_day date CONSTRAINT delivery_days_pkey PRIMARY KEY,
    state        text NOT NULL DEFAULT 'open'
                 CONSTRAINT delivery_days_state_is_known CHECK (state IN ('open', 'closed', 'cleared')),
    -- The sequence number of the day's last event; the next writer continues from it under this row's lock.
    last_seq     bigint NOT NULL DEFAULT 0,
    -- Never below any level's total volume: the sum of all volume ever placed. While it is small no level needs checking.
    volume_bound numeric NOT NULL DEFAULT 0,
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- One row holds the events first_seq..last_seq of one request: one event for each bid of a placement, one for a change,
-- a withdrawal or the gate. slots, prices, volumes are what the row does to the book's levels, element by element: a
-- positive volume adds one bid to its level, a negative one takes one bid away.
--   place     element i is event first_seq + i - 1 and the bid with that number; all positive
--   change    [old, new]: takes bid bid_seq from its old level and adds it to its new one
--   withdraw  [old]
--   close     empty: the gate closed
CREATE TABLE book_events (
    -- Always a row of delivery_days: its writer holds that row's lock. A foreign key would check it again for every row.
    delivery_day date NOT NULL,
    first_seq    bigint NOT NULL,
    last_seq     bigint NOT NULL,
    at           timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- Chosen at random by the writer of the transaction, to recognise it by when its commit went unanswered.
    batch_id     bigint NOT NULL,
    account_id   bigint,
    bid_seq      bigint,
    kind         text NOT NULL CONSTRAINT book_events_kind_is_known
                 CHECK (kind IN ('place', 'change', 'withdraw', 'close')),
    side         "char" CONSTRAINT book_events_side_is_known CHECK (side IN ('B', 'S')),
    slots        smallint[] NOT NULL DEFAULT '{}',
    prices       bigint[] NOT NULL DEFAULT '{}',
    volumes      bigint[] NOT NULL DEFAULT '{}',
    CONSTRAINT book_events_pkey PRIMARY KEY (delivery_day, first_seq),
    CONSTRAINT book_events_range_is_whole CHECK (
        last_seq - first_seq + 1 = CASE kind WHEN 'place' THEN cardinality(slots) ELSE 1 END
        AND cardinality(prices) = cardinality(slots)
        AND cardinality(volumes) = cardinality(slots)
    )
);
-- The listing of one account's bids.
CREATE INDEX book_events_by_account ON book_events (account_id, delivery_day);

-- The present state of every bid that was changed or withdrawn; all others stand as they were placed.
CREATE TABLE changed_bids (
    delivery_day date NOT NULL,
    bid_seq      bigint NOT NULL,
    -- The event of the last change: a bid's time priority.
    seq          bigint NOT NULL,
    price        bigint NOT NULL,
    volume       bigint NOT NULL,
    is_withdrawn boolean NOT NULL,
    CONSTRAINT changed_bids_pkey PRIMARY KEY (delivery_day, bid_seq)
);

CREATE TABLE account_days (
    account_id   bigint NOT NULL,
    delivery_day date NOT NULL,
    open_bids    integer NOT NULL CONSTRAINT account_days_open_bids_is_a_count CHECK (open_bids >= 0),
    CONSTRAINT account_days_pkey PRIMARY KEY (account_id, delivery_day)
);

CREATE TABLE idempotency_keys (
    account_id  bigint NOT NULL,
    -- SHA-256 of method, path and the client's key.
    scope       bytea NOT NULL,
    body_sha256 bytea NOT NULL,
    response    bytea NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT idempotency_keys_pkey PRIMARY KEY (account_id, scope)
);
-- Rows come in the order of their time, so an index of a few pages finds the old ones.
CREATE INDEX idempotency_keys_by_age ON idempotency_keys USING brin (created_at);
