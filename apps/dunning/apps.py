from __future__ import annotations

from django.apps import AppConfig


class DunningConfig(AppConfig):
    name = "apps.dunning"

    def ready(self) -> None:
        """Register the handlers: rooms below emit facts and do not know who listens."""
        from apps.dunning import handlers  # noqa: F401, PLC0415 - needs the loaded models
