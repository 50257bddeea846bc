from __future__ import annotations

from django.apps import AppConfig


class LicensingConfig(AppConfig):
    name = "apps.licensing"

    def ready(self) -> None:
        """Register the handlers: rooms below emit facts and do not know who listens."""
        from apps.licensing import handlers  # noqa: F401, PLC0415 - needs the loaded models
