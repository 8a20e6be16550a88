-- Smart-meter readings of accounts, and what each account was cleared for. All in volume ticks.

-- One row for each value that was ever reported for a slot: a correction is a row with the next revision, and the
-- highest revision is what holds.
CREATE TABLE readings (
    account_id         bigint NOT NULL
                       CONSTRAINT readings_account_exists REFERENCES accounts (id) ON DELETE CASCADE,
    delivery_day       date NOT NULL,
    slot               smallint NOT NULL CONSTRAINT readings_slot_exists CHECK (slot BETWEEN 1 AND 96),
    revision           integer NOT NULL CONSTRAINT readings_revision_is_a_count CHECK (revision >= 1),
    -- The number in the account's own sequence of the report that brought the row; readings of one report share it.
    account_seq        bigint NOT NULL,
    at                 timestamptz NOT NULL DEFAULT clock_timestamp(),
    solar_generation   bigint,
    net_energy         bigint,
    energy_consumption bigint,
    CONSTRAINT readings_pkey PRIMARY KEY (account_id, delivery_day, slot, revision),
    CONSTRAINT readings_are_of_one_kind CHECK (
        (solar_generation IS NULL) = (net_energy IS NULL) AND (solar_generation IS NULL) <> (energy_consumption IS NULL)
    )
);
-- The account's own feed, beyond a number.
CREATE INDEX readings_by_account_seq ON readings (account_id, account_seq);

-- What the auction of a delivery day gave an account, slot by slot: sold by a prosumer, bought by a consumer. Written
-- when the day is cleared, in the transaction that clears it; an account without a row was cleared for nothing.
CREATE TABLE cleared_positions (
    account_id   bigint NOT NULL,
    delivery_day date NOT NULL,
    -- Element i is slot i.
    volumes      bigint[] NOT NULL CONSTRAINT cleared_positions_cover_the_day CHECK (cardinality(volumes) = 96),
    CONSTRAINT cleared_positions_pkey PRIMARY KEY (account_id, delivery_day)
);
