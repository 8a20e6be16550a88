-- Where a batch is in the log, if it is. Asked under the day's lock, which a batch still on its way would hold, or have
-- to wait for.
-- $1 delivery day date, $2 a seq that the batch does not begin before bigint, $3 batch id bigint. Columns: first_seq
-- bigint.
SELECT first_seq
  FROM book_events
 WHERE delivery_day = $1 AND first_seq >= $2 AND batch_id = $3
 ORDER BY first_seq
 LIMIT 1;
