from __future__ import annotations

from django.apps import AppConfig


class TenantsConfig(AppConfig):
    name = "apps.tenants"
    verbose_name = "Organizations"

    def ready(self) -> None:
        from apps.tenants import checks  # noqa: F401, PLC0415 - registers the system checks
