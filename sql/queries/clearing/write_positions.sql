-- What every locked account is given, each as the next event of its own sequence.
-- $1 delivery day date. No columns.
WITH advanced AS (
    UPDATE account_feeds AS f
       SET last_seq = f.last_seq + 1
      FROM gathered AS g
     WHERE f.account_id = g.account_id
 RETURNING f.account_id, f.last_seq
)
INSERT INTO cleared_positions (account_id, delivery_day, account_seq, slots, volumes)
SELECT a.account_id, $1, a.last_seq, g.slots, g.volumes
  FROM advanced AS a
  JOIN gathered AS g USING (account_id);
