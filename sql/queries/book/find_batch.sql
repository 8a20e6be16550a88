-- Whether a batch is in the log. Asked under the day's lock, which a batch still on its way would hold.
-- $1 delivery day date, $2 first seq of the batch bigint, $3 batch id bigint. Columns: has_landed boolean.
SELECT EXISTS (
           SELECT FROM book_events WHERE delivery_day = $1 AND first_seq = $2 AND batch_id = $3
       ) AS has_landed;
