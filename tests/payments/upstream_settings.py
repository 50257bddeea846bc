"""The project's settings with dj-stripe's own migrations instead of our squashed copy."""

from __future__ import annotations

from billing_project.settings import *  # noqa: F403

# Our own room builds on the squashed copy by name; it is not what is compared.
MIGRATION_MODULES: dict[str, str | None] = {"payments": None}
