from __future__ import annotations

from django.apps import AppConfig


class PaymentsConfig(AppConfig):
    name = "apps.payments"

    def ready(self) -> None:
        """Register the checks, and who follows the provider's objects."""
        from apps.payments import checks, services  # noqa: F401, PLC0415 - needs the loaded models
