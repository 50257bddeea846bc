"""The project's settings with dj-stripe's own migrations instead of our squashed copy."""

from __future__ import annotations

from billing_project.settings import *  # noqa: F403

MIGRATION_MODULES = {}
