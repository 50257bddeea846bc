from __future__ import annotations

from django.apps import AppConfig


class InvoicingConfig(AppConfig):
    name = "apps.invoicing"

    def ready(self) -> None:
        """Register the reactions of the room to its own facts."""
        from apps.invoicing import handlers  # noqa: F401, PLC0415 - needs the loaded models
