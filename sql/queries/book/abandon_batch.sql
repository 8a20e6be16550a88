-- Have a batch that is not in the log, but may still be on its way, do nothing when it arrives. Under the day's lock.
-- $1 batch id bigint. No columns.
INSERT INTO abandoned_batches (batch_id) VALUES ($1) ON CONFLICT DO NOTHING;
