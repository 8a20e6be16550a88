-- Lock a delivery day that is to be cleared.
-- $1 delivery day date. Columns: state text, last_seq bigint.
SELECT state, last_seq FROM delivery_days WHERE delivery_day = $1 FOR UPDATE;
