-- Everything that an account ever reported for a day, with what it was cleared for: null while the day is not cleared.
-- $1 account id bigint, $2 delivery day date.
-- Columns: slot smallint, revision integer, at timestamptz, solar_generation bigint, net_energy bigint,
-- energy_consumption bigint, cleared bigint.
SELECT r.slot, r.revision, r.at, r.solar_generation, r.net_energy, r.energy_consumption,
       CASE WHEN d.state = 'cleared' THEN coalesce(p.volumes[array_position(p.slots, r.slot)], 0) END AS cleared
  FROM readings AS r
  LEFT JOIN delivery_days AS d ON d.delivery_day = r.delivery_day
  LEFT JOIN cleared_positions AS p ON p.account_id = r.account_id AND p.delivery_day = r.delivery_day
 WHERE r.account_id = $1 AND r.delivery_day = $2
 ORDER BY r.slot, r.revision;
