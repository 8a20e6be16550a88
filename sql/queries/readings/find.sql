-- What holds for some slots of an account's day, and what the account was cleared for: null while the day is not
-- cleared. One row for each slot asked for, in their order; the reading's columns are null where there is none.
-- $1 account id bigint, $2 delivery day date, $3 slots smallint[].
-- Columns: slot smallint, revision integer, at timestamptz, solar_generation bigint, net_energy bigint,
-- energy_consumption bigint, cleared bigint.
SELECT u.slot, r.revision, r.at, r.solar_generation, r.net_energy, r.energy_consumption,
       CASE WHEN d.state = 'cleared' THEN coalesce(p.volumes[array_position(p.slots, u.slot)], 0) END AS cleared
  FROM unnest($3::smallint[]) AS u (slot)
  LEFT JOIN LATERAL (
        SELECT *
          FROM readings
         WHERE account_id = $1 AND delivery_day = $2 AND slot = u.slot
         ORDER BY revision DESC
         LIMIT 1
       ) AS r ON true
  LEFT JOIN delivery_days AS d ON d.delivery_day = $2
  LEFT JOIN cleared_positions AS p ON p.account_id = $1 AND p.delivery_day = $2
 ORDER BY u.slot;
