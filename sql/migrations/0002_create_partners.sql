-- Logistics partners (shippers and transporters), verified phone numbers, operators.

CREATE TABLE partners (
    id                   bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT partners_pkey PRIMARY KEY,
    kind                 text NOT NULL CONSTRAINT partners_kind_is_known CHECK (kind IN ('shipper', 'transporter')),
    owner_name           text NOT NULL,
    -- Numbers as the partner wrote them, and as they are compared.
    owner_contact_number text NOT NULL,
    owner_contact_e164   text NOT NULL
                         CONSTRAINT partners_owner_contact_is_e164 CHECK (owner_contact_e164 ~ '^[+][0-9]{4,15}$'),
    phone_number         text NOT NULL,
    phone_e164           text NOT NULL CONSTRAINT partners_phone_is_e164 CHECK (phone_e164 ~ '^[+][0-9]{4,15}$'),
    email                text NOT NULL,
    -- The e-mail as it is compared: lower case, an international domain in ASCII.
    email_key            text NOT NULL,
    password_hash        text NOT NULL,
    company_name         text NOT NULL,
    company_address      text NOT NULL,
    gst_number           text NOT NULL,
    email_verified_at    timestamptz,
    -- The one verification link that is valid; a later one overwrites it.
    email_token_jti      text,
    email_token_expires  timestamptz,
    token_generation     integer NOT NULL DEFAULT 1,
    created_at           timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at           timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT partners_email_is_unique UNIQUE (kind, email_key),
    CONSTRAINT partners_gst_number_is_unique UNIQUE (kind, gst_number),
    CONSTRAINT partners_email_token_is_whole CHECK ((email_token_jti IS NULL) = (email_token_expires IS NULL))
);
CREATE TRIGGER partner_tokens_are_announced AFTER DELETE OR UPDATE OF token_generation ON partners
    FOR EACH ROW EXECUTE FUNCTION announce_revoked_subject('partner');

-- Both numbers of a partner, E.164: a number identifies one account per kind, whichever role it has there.
CREATE TABLE partner_phones (
    kind       text NOT NULL,
    phone      text NOT NULL,
    partner_id bigint NOT NULL CONSTRAINT partner_phones_partner_exists REFERENCES partners (id) ON DELETE CASCADE,
    CONSTRAINT partner_phones_is_unique PRIMARY KEY (kind, phone)
);
CREATE INDEX partner_phones_by_partner ON partner_phones (partner_id);

CREATE TABLE verified_phones (
    phone       text CONSTRAINT verified_phones_pkey PRIMARY KEY,
    verified_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE operators (
    id               bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT operators_pkey PRIMARY KEY,
    name             text NOT NULL CONSTRAINT operators_name_is_unique UNIQUE,
    password_hash    text NOT NULL,
    token_generation integer NOT NULL DEFAULT 1,
    created_at       timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE TRIGGER operator_tokens_are_announced AFTER DELETE OR UPDATE OF token_generation ON operators
    FOR EACH ROW EXECUTE FUNCTION announce_revoked_subject('operator');
