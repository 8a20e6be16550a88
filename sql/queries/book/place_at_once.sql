-- Place all bids of a batch that nothing stands in the way of; what the arguments mean, and when it does nothing, stands
-- at the function (migration 0007). All arrays come as literals, see storage/arrays.py; in $13..$15 each element is one
-- itself.
-- $1 delivery day date, $2 gate closure timestamptz, $3 batch id bigint, $4 added volume numeric, $5 most volume numeric,
-- $6 most open bids of an account integer, $7 lifetime of keys interval;
-- for each placement: $8 offset bigint[], $9 number of bids integer[], $10 account bigint[], $11 rank within its account
-- integer[], $12 side text[], $13 slots text[], $14 prices text[], $15 volumes text[];
-- for each account: $16 account bigint[], $17 placements integer[], $18 bids integer[];
-- for each key: $19 account bigint[], $20 scope text[] and $21 body digest text[] in hexadecimal, $22 offset of the
-- placement that it names bigint[];
-- $23 longest wait for a lock text. Columns: base bigint or null.
SELECT place_at_once(
    $1, $2, $3, $4, $5, $6, $7,
    $8::text::bigint[], $9::text::integer[], $10::text::bigint[], $11::text::integer[], $12::text::text[],
    $13::text::text[], $14::text::text[], $15::text::text[],
    $16::text::bigint[], $17::text::integer[], $18::text::integer[],
    $19::text::bigint[], $20::text::text[], $21::text::text[], $22::text::bigint[],
    $23
) AS base;
