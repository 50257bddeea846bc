"""Version 1: one module a resource, additive changes only."""
