"""Tests: they mirror the rooms of the project and use real PostgreSQL, Redis and sockets."""
