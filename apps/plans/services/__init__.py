"""Everything that changes what is for sale."""

from __future__ import annotations

from apps.plans.services.loading import load_catalog

__all__ = ["load_catalog"]
