-- Readings of accounts beyond a number of each one's own sequence. A report is never cut: of each account come the
-- first readings up to the limit, and what else belongs to the report of the last of them.
-- for each account: $1 accounts bigint[], $2 numbers bigint[]; $3 limit of each account bigint.
-- Columns: account_id bigint, account_seq bigint, delivery_day date, slot smallint, revision integer,
-- solar_generation bigint, net_energy bigint, energy_consumption bigint, cleared bigint (null while not cleared).
SELECT r.account_id, r.account_seq, r.delivery_day, r.slot, r.revision, r.solar_generation, r.net_energy,
       r.energy_consumption,
       CASE WHEN d.state = 'cleared' THEN coalesce(p.volumes[array_position(p.slots, r.slot)], 0) END AS cleared
  FROM unnest($1::bigint[], $2::bigint[]) AS u (account_id, after)
 CROSS JOIN LATERAL (
        SELECT *
          FROM readings
         WHERE account_id = u.account_id AND account_seq > u.after
         ORDER BY account_seq
         FETCH FIRST ($3::bigint) ROWS WITH TIES
       ) AS r
  LEFT JOIN delivery_days AS d ON d.delivery_day = r.delivery_day
  LEFT JOIN cleared_positions AS p ON p.account_id = r.account_id AND p.delivery_day = r.delivery_day
 ORDER BY r.account_id, r.account_seq, r.slot;
