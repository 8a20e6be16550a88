-- Forget keys that outlived their time, some at a time so that no lock is held long.
-- $1 lifetime interval, $2 most rows integer. No columns.
DELETE FROM idempotency_keys
 WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM idempotency_keys WHERE created_at <= clock_timestamp() - $1::interval LIMIT $2
       ));
