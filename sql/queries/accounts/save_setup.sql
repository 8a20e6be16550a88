-- Record an account's set-up in place of an earlier one.
-- $1 account id bigint, $2 solar capacity kW numeric, $3 solar brand text, $4 load kW numeric, $5 demand kW numeric,
-- $6 city text, $7 state text, $8 pincode text, $9 latitude numeric, $10 longitude numeric, $11 year smallint,
-- $12 tilt degrees numeric, $13 azimuth degrees numeric. No columns.
INSERT INTO setups (account_id, solar_capacity_kw, solar_brand, load_kw, demand_kw, city, state, pincode, latitude,
                    longitude, year, tilt_degrees, azimuth_degrees)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
ON CONFLICT (account_id) DO UPDATE
   SET solar_capacity_kw = excluded.solar_capacity_kw, solar_brand = excluded.solar_brand, load_kw = excluded.load_kw,
       demand_kw = excluded.demand_kw, city = excluded.city, state = excluded.state, pincode = excluded.pincode,
       latitude = excluded.latitude, longitude = excluded.longitude, year = excluded.year,
       tilt_degrees = excluded.tilt_degrees, azimuth_degrees = excluded.azimuth_degrees,
       updated_at = clock_timestamp();
