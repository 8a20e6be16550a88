-- Energy accounts (prosumers and consumers), their set-up, and revoked tokens.

CREATE TABLE accounts (
    id               bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT accounts_pkey PRIMARY KEY,
    account_type     text NOT NULL CONSTRAINT accounts_type_is_known CHECK (account_type IN ('prosumer', 'consumer')),
    connection_id    text NOT NULL,
    username         text NOT NULL,
    phone            text NOT NULL CONSTRAINT accounts_phone_is_e164 CHECK (phone ~ '^[+][0-9]{4,15}$'),
    phone_as_given   text NOT NULL,
    password_hash    text NOT NULL,
    -- Tokens carry the generation they were made in; raising it revokes them all.
    token_generation integer NOT NULL DEFAULT 1,
    created_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT accounts_connection_is_unique UNIQUE (account_type, connection_id),
    CONSTRAINT accounts_phone_is_unique UNIQUE (account_type, phone)
);

CREATE TABLE setups (
    account_id        bigint CONSTRAINT setups_pkey PRIMARY KEY
                      CONSTRAINT setups_account_exists REFERENCES accounts (id) ON DELETE CASCADE,
    solar_capacity_kw numeric CONSTRAINT setups_capacity_is_positive CHECK (solar_capacity_kw > 0),
    solar_brand       text,
    load_kw           numeric NOT NULL CONSTRAINT setups_load_is_positive CHECK (load_kw > 0),
    demand_kw         numeric,
    city              text NOT NULL,
    state             text,
    pincode           text NOT NULL CONSTRAINT setups_pincode_has_six_digits CHECK (pincode ~ '^[0-9]{6}$'),
    latitude          numeric NOT NULL CONSTRAINT setups_latitude_is_in_range CHECK (latitude BETWEEN -90 AND 90),
    longitude         numeric NOT NULL CONSTRAINT setups_longitude_is_in_range CHECK (longitude BETWEEN -180 AND 180),
    year              smallint NOT NULL,
    tilt_degrees      numeric,
    azimuth_degrees   numeric,
    updated_at        timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE revoked_tokens (
    jti        text CONSTRAINT revoked_tokens_pkey PRIMARY KEY,
    expires_at timestamptz NOT NULL
);
CREATE INDEX revoked_tokens_by_expiry ON revoked_tokens (expires_at);

-- Whoever revokes, in whichever process or by hand, is heard by the token caches of every process.
CREATE FUNCTION announce_revoked_token() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('shakti_revocations', 'jti:' || NEW.jti);
    RETURN NULL;
END $$;
CREATE TRIGGER revoked_tokens_are_announced AFTER INSERT ON revoked_tokens
    FOR EACH ROW EXECUTE FUNCTION announce_revoked_token();

-- The first argument is the kind of subject, as tokens name it: account, partner, operator.
CREATE FUNCTION announce_revoked_subject() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('shakti_revocations', TG_ARGV[0] || ':' || OLD.id);
    RETURN NULL;
END $$;
CREATE TRIGGER account_tokens_are_announced AFTER DELETE OR UPDATE OF token_generation ON accounts
    FOR EACH ROW EXECUTE FUNCTION announce_revoked_subject('account');
