from __future__ import annotations

from django.apps import AppConfig


class PaymentsConfig(AppConfig):
    name = "apps.payments"

    def ready(self) -> None:
        """Register the checks, the handlers, and who follows the provider's objects."""
        from apps.payments import (  # noqa: PLC0415 - needs the loaded models
            checks,  # noqa: F401
            handlers,  # noqa: F401
            services,  # noqa: F401
        )
