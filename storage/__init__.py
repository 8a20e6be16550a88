"""Everything that is kept: PostgreSQL through query files, Redis through `codes`. No aiohttp, no HTTP status."""
