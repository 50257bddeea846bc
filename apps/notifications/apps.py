from __future__ import annotations

from django.apps import AppConfig


class NotificationsConfig(AppConfig):
    name = "apps.notifications"

    def ready(self) -> None:
        """Register the handlers: rooms below emit facts and do not know who listens."""
        from apps.notifications import (  # noqa: PLC0415 - needs the loaded models
            accounts,  # noqa: F401
            dunning,  # noqa: F401
            handlers,  # noqa: F401
        )
