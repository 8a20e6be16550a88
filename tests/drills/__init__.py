"""Drills: the real server under load while it is broken on purpose. Small ones are tests, long ones run by hand."""
