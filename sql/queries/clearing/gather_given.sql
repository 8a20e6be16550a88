-- One row for each account: what it is given, slot by slot. No columns.
CREATE TEMPORARY TABLE gathered ON COMMIT DROP AS
SELECT account_id,
       coalesce(array_agg(slot ORDER BY slot) FILTER (WHERE slot IS NOT NULL), '{}') AS slots,
       coalesce(array_agg(volume ORDER BY slot) FILTER (WHERE slot IS NOT NULL), '{}') AS volumes
  FROM given
 GROUP BY account_id;
