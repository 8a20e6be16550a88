-- Append rows to the event log. The arrays of all rows stand one after another in $9..$11; each row takes its
-- lengths' share from where the one before it ended.
-- $1 delivery day date; for each row: $2 first seq bigint[], $3 last seq bigint[], $4 account bigint[],
-- $5 bid seq bigint[], $6 kind text[], $7 side text[], $8 length of its arrays integer[]; for each element: $9 slots
-- smallint[], $10 prices bigint[], $11 volumes bigint[]; $12 batch id bigint; for each row: $13 account seq bigint[].
-- No columns.
INSERT INTO book_events (
    delivery_day, batch_id, first_seq, last_seq, account_id, account_seq, bid_seq, kind, side, slots, prices, volumes
)
SELECT $1, $12, r.first_seq, r.last_seq, r.account_id, r.account_seq, r.bid_seq, r.kind, r.side::"char",
       ($9::smallint[])[r.past + 1 : r.past + r.length],
       ($10::bigint[])[r.past + 1 : r.past + r.length],
       ($11::bigint[])[r.past + 1 : r.past + r.length]
  FROM (
        SELECT u.*, (sum(u.length) OVER (ORDER BY u.first_seq) - u.length)::integer AS past
          FROM unnest($2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::text[], $7::text[], $8::integer[],
                      $13::bigint[])
               AS u (first_seq, last_seq, account_id, bid_seq, kind, side, length, account_seq)
       ) AS r;
