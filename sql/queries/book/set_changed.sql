-- Record the present state of bids that were changed or withdrawn.
-- $1 delivery day date, $2 bid seqs bigint[], $3 seqs of the change bigint[], $4 prices bigint[], $5 volumes bigint[],
-- $6 withdrawn boolean[]. No columns.
INSERT INTO changed_bids (delivery_day, bid_seq, seq, price, volume, is_withdrawn)
SELECT $1, u.bid_seq, u.seq, u.price, u.volume, u.is_withdrawn
  FROM unnest($2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::boolean[])
       AS u (bid_seq, seq, price, volume, is_withdrawn)
ON CONFLICT (delivery_day, bid_seq) DO UPDATE
   SET seq = excluded.seq, price = excluded.price, volume = excluded.volume, is_withdrawn = excluded.is_withdrawn;
