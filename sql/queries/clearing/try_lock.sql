-- Take the lock of whoever clears a delivery day, if nobody has it. It is held until the session ends.
-- $1 delivery day date. Columns: is_ours boolean.
SELECT pg_try_advisory_lock(hashtext('shakti clearing'), $1::date - DATE '2000-01-01') AS is_ours;
