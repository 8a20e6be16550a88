-- Write the readings that a report changes as one event of its account's own sequence, whose row is locked, and announce
-- it. The function in FROM is read once: all rows have one instant.
-- $1 account id bigint, $2 delivery day date; for each reading: $3 slots smallint[], $4 revisions integer[],
-- $5 solar generations bigint[], $6 net energies bigint[], $7 energy consumptions bigint[].
-- Columns, of the one row: at timestamptz, announced void.
WITH counted AS (
    UPDATE account_feeds SET last_seq = last_seq + 1 WHERE account_id = $1 RETURNING last_seq
), added AS (
    INSERT INTO readings (
        account_id, delivery_day, slot, revision, account_seq, at, solar_generation, net_energy, energy_consumption
    )
    SELECT $1, $2, u.slot, u.revision, c.last_seq, n.at, u.solar_generation, u.net_energy, u.energy_consumption
      FROM counted AS c
     CROSS JOIN clock_timestamp() AS n (at)
     CROSS JOIN unnest($3::smallint[], $4::integer[], $5::bigint[], $6::bigint[], $7::bigint[])
                AS u (slot, revision, solar_generation, net_energy, energy_consumption)
    RETURNING at
)
SELECT (SELECT max(at) FROM added) AS at,
       pg_notify('shakti_accounts', $1::bigint || ' ' || c.last_seq) AS announced
  FROM counted AS c;
