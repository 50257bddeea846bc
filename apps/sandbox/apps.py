from __future__ import annotations

from django.apps import AppConfig


class SandboxConfig(AppConfig):
    """Here for its management command only: the sandbox has no models."""

    name = "apps.sandbox"
