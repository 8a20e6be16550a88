-- An account with its set-up; the columns of the set-up are null before it is made.
-- $1 account id bigint. Columns: of accounts without the password's hash, and of setups.
SELECT a.id, a.account_type, a.connection_id, a.username, a.phone_as_given, a.created_at,
       s.solar_capacity_kw, s.solar_brand, s.load_kw, s.demand_kw, s.city, s.state, s.pincode, s.latitude,
       s.longitude, s.year, s.tilt_degrees, s.azimuth_degrees
  FROM accounts AS a
  LEFT JOIN setups AS s ON s.account_id = a.id
 WHERE a.id = $1;
