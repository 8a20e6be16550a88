-- What became of a transaction whose answer was lost: committed, aborted, in progress; null when too long ago.
-- $1 xid text. Columns: status text.
SELECT pg_xact_status($1::text::xid8) AS status;
