"""`manage.py sandbox`: the stand-in for Stripe alone, without the rest of the system."""

from __future__ import annotations

import os
import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser


class Command(BaseCommand):
    """Serve the sandbox until stopped."""

    help = (
        "Serve the stand-in for Stripe at http://127.0.0.1:PORT/_stripe until stopped. `up` does"
        " it already; this is for harnesses and other clients of Stripe. Examples:"
        " manage.py sandbox --port 8002 · manage.py sandbox --fresh"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Take where to listen, and whether everything is forgotten first."""
        port = settings.SANDBOX_PORT or settings.PORT + 2
        parser.add_argument("--port", type=int, default=port, help=f"default: {port}")
        parser.add_argument("--fresh", action="store_true", help="forget all objects first")

    def handle(self, **options: Any) -> None:
        """Become the web server."""
        if not settings.SANDBOX_POSSIBLE:
            raise CommandError("The sandbox runs in development only, and without a key of Stripe.")
        store = settings.DATA_DIR / "sandbox.sqlite"
        if options["fresh"]:
            for suffix in ("", "-wal", "-shm"):
                store.with_name(store.name + suffix).unlink(missing_ok=True)
        port = str(options["port"])
        command = [sys.executable, "-m", "granian", "--interface", "wsgi", "--no-ws",
                   "--host", "127.0.0.1", "--port", port, "--workers", "1",
                   "--blocking-threads", "8", "apps.sandbox.wsgi:application"]  # fmt: skip
        os.execve(sys.executable, command, {**os.environ, "SANDBOX_PORT": port})  # noqa: S606
