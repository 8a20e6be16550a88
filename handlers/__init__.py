"""HTTP: each handler parses, calls, responds. No SQL, no Redis, no rule of the market."""
