-- The auction of a delivery day: what each slot cleared, what each bid was filled, what each account was given. All of a
-- day is written in one transaction, with the event that announces it. Prices and volumes are whole ticks.

-- One more kind of row in the log. Its slots, prices and volumes are what the auction came to, and change no level:
--   clear     the slots that cleared, ascending, each with its price and volume
ALTER TABLE book_events
      DROP CONSTRAINT book_events_kind_is_known,
      ADD CONSTRAINT book_events_kind_is_known CHECK (kind IN ('place', 'change', 'withdraw', 'close', 'clear'));

CREATE TABLE cleared_days (
    delivery_day date CONSTRAINT cleared_days_pkey PRIMARY KEY,
    -- The number of the event that announced it.
    seq          bigint NOT NULL,
    price_rule   text NOT NULL
                 CONSTRAINT cleared_days_rule_is_known CHECK (price_rule IN ('midpoint', 'seller', 'buyer')),
    cleared_at   timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- All 96 slots of each cleared day.
CREATE TABLE cleared_slots (
    delivery_day date NOT NULL
                 CONSTRAINT cleared_slots_day_is_cleared REFERENCES cleared_days (delivery_day) ON DELETE CASCADE,
    slot         smallint NOT NULL CONSTRAINT cleared_slots_slot_exists CHECK (slot BETWEEN 1 AND 96),
    -- Null where nothing cleared; else the price, and the interval that it was taken from.
    price        bigint,
    low          bigint,
    high         bigint,
    volume       bigint NOT NULL,
    -- What stood in the book when the gate closed.
    buy_volume   bigint NOT NULL,
    sell_volume  bigint NOT NULL,
    buy_bids     integer NOT NULL,
    sell_bids    integer NOT NULL,
    CONSTRAINT cleared_slots_pkey PRIMARY KEY (delivery_day, slot),
    CONSTRAINT cleared_slots_price_is_in_its_interval CHECK (
        (volume = 0 AND num_nulls(price, low, high) = 3)
        OR (volume > 0 AND num_nulls(price, low, high) = 0 AND price BETWEEN low AND high)
    ),
    CONSTRAINT cleared_slots_clear_what_was_offered CHECK (volume <= buy_volume AND volume <= sell_volume)
);

-- The bids that were filled, wholly or in part. What stood in the book of a cleared day and has no row was rejected.
CREATE TABLE fills (
    -- Always a cleared day and a bid of it. Foreign keys would be checked once for each of a million rows.
    delivery_day date NOT NULL,
    bid_seq      bigint NOT NULL,
    volume       bigint NOT NULL CONSTRAINT fills_are_of_something CHECK (volume > 0),
    CONSTRAINT fills_pkey PRIMARY KEY (delivery_day, bid_seq)
);

-- What the auction of a delivery day gave an account, slot by slot: sold by a prosumer, bought by a consumer. Every
-- account with a bid in the auction has a row, with empty arrays if none was filled: it is an event of the account's own
-- sequence. Nobody could have one before days were cleared, so the table of before is made anew.
DROP TABLE cleared_positions;
CREATE TABLE cleared_positions (
    account_id   bigint NOT NULL,
    delivery_day date NOT NULL,
    account_seq  bigint NOT NULL,
    slots        smallint[] NOT NULL,
    volumes      bigint[] NOT NULL,
    CONSTRAINT cleared_positions_pkey PRIMARY KEY (account_id, delivery_day),
    CONSTRAINT cleared_positions_are_whole CHECK (cardinality(volumes) = cardinality(slots))
);
-- The account's own feed, beyond a number.
CREATE INDEX cleared_positions_by_account_seq ON cleared_positions (account_id, account_seq);
