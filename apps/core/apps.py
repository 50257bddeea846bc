from __future__ import annotations

from django.apps import AppConfig


class CoreConfig(AppConfig):
    name = "apps.core"
    verbose_name = "Operations"

    def ready(self) -> None:
        from apps.core import checks, lookups  # noqa: F401, PLC0415 - they register themselves
