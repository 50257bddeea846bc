"""Which organization a portal request works for, and the scope it runs in."""
from __future__ import annotations
