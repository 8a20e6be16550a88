-- Record a number as verified; verified again it is verified since now.
-- $1 phone text (E.164). No columns.
INSERT INTO verified_phones (phone) VALUES ($1)
ON CONFLICT (phone) DO UPDATE SET verified_at = excluded.verified_at;
