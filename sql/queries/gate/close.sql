-- Close a delivery day whose gate is over, if nobody has: its state, the event in its log, and the wake-up for those who
-- read it. Who waits for the day's lock here finds the state as the holder left it. A day that nobody used gets its row.
-- $1 delivery day date, $2 gate closure timestamptz, $3 batch id bigint.
-- Columns: is_due boolean, whether the gate is over; seq bigint, the event's number, null if it was not this one's doing.
WITH moment AS MATERIALIZED (
    SELECT clock_timestamp() >= $2 AS is_due
), closed AS (
    INSERT INTO delivery_days (delivery_day, state, last_seq)
    SELECT $1, 'closed', 1
      FROM moment
     WHERE is_due
    ON CONFLICT (delivery_day) DO UPDATE
       SET state = 'closed', last_seq = delivery_days.last_seq + 1
     WHERE delivery_days.state = 'open'
 RETURNING delivery_day, last_seq
), logged AS (
    INSERT INTO book_events (delivery_day, first_seq, last_seq, batch_id, kind)
    SELECT delivery_day, last_seq, last_seq, $3, 'close' FROM closed
 RETURNING delivery_day, last_seq
), announced AS MATERIALIZED (
    SELECT last_seq, pg_notify('shakti_book', delivery_day::text || ' ' || last_seq) FROM logged
)
SELECT moment.is_due, announced.last_seq AS seq FROM moment LEFT JOIN announced ON true;
