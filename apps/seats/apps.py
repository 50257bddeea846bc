from __future__ import annotations

from django.apps import AppConfig


class SeatsConfig(AppConfig):
    name = "apps.seats"

    def ready(self) -> None:
        """Register the handlers, and the guard of quantities that seats are taken of."""
        from apps.seats import handlers  # noqa: F401, PLC0415 - needs the loaded models
