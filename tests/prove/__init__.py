"""Harnesses that try to break the system, on real processes and a real PostgreSQL: `make prove`."""
