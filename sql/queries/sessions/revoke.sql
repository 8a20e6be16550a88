-- Revoke one token; those whose time is over anyway are forgotten on the way.
-- $1 jti text, $2 expiry timestamptz. No columns.
WITH forgotten AS (
    DELETE FROM revoked_tokens WHERE expires_at < clock_timestamp() - interval '1 hour'
)
INSERT INTO revoked_tokens (jti, expires_at) VALUES ($1, $2) ON CONFLICT (jti) DO NOTHING;
