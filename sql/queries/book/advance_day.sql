-- Record how far the locked day's log goes now, and wake those who read it.
-- $1 delivery day date, $2 last seq bigint, $3 volume bound numeric, $4 state text. Columns: pg_notify void.
WITH advanced AS (
    UPDATE delivery_days
       SET last_seq = $2, volume_bound = $3, state = $4
     WHERE delivery_day = $1
 RETURNING delivery_day, last_seq
)
SELECT pg_notify('shakti_book', delivery_day::text || ' ' || last_seq) FROM advanced;
