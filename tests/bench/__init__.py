"""Measurements against a limit and a typical implementation, in the same run: `make bench`."""
