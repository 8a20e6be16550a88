-- Forget batches that were given up so long ago that nothing of them can still arrive.
-- $1 age interval. No columns.
DELETE FROM abandoned_batches WHERE created_at <= clock_timestamp() - $1::interval;
