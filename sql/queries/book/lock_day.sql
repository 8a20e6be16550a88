-- Lock a delivery day and read what its next writer needs. The clock is read once the lock is held: a CTE that locks
-- is run before what reads it.
-- $1 delivery day date, $2 gate closure timestamptz.
-- Columns: state text, last_seq bigint, volume_bound numeric, is_before_gate boolean.
WITH locked AS MATERIALIZED (
    SELECT state, last_seq, volume_bound
      FROM delivery_days
     WHERE delivery_day = $1
       FOR UPDATE
)
SELECT state,
       last_seq,
       volume_bound,
       clock_timestamp() < $2 AS is_before_gate
  FROM locked;
