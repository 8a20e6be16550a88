-- The tables of every peer: one row a bid and no index but the primary key; integers, the narrowest that hold every
-- price and volume in ticks.
CREATE TABLE bids (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id   bigint NOT NULL,
    delivery_day date NOT NULL,
    slot         smallint NOT NULL,
    side         character(1) NOT NULL,
    price        integer NOT NULL,
    volume       integer NOT NULL
);
-- Written in the transaction that places the bids, so that a request sent twice places once and is answered the same.
CREATE TABLE idempotency_keys (
    account_id   bigint NOT NULL,
    key          text NOT NULL,
    body_sha256  bytea NOT NULL,
    delivery_day date NOT NULL,
    bid_ids      bigint[] NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (account_id, key)
);
