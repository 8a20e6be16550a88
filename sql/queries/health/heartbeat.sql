-- Whether a connection still reaches its server.
-- No parameters, no columns of interest.
SELECT 1;
