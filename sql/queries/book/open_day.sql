-- Make the row of a delivery day whose gate is still ahead; a day that nobody used before its gate never gets one.
-- $1 delivery day date, $2 gate closure timestamptz. No columns.
INSERT INTO delivery_days (delivery_day)
SELECT $1
 WHERE clock_timestamp() < $2
ON CONFLICT (delivery_day) DO NOTHING;
