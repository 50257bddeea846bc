"""The embedded database's schema follows the checkout: any command finds it up to date.

Servers of one's own are migrated by hand, before new code runs (docs/operations.md).
"""

from __future__ import annotations

import fcntl
import hashlib
from pathlib import Path

from django.apps import apps
from django.conf import settings
from django.core.management import call_command


def bring_up_to_date() -> None:
    """Migrate the embedded database unless a stamp says that it has this checkout's schema.

    The stamp spares every command the second that asking the database takes. Two commands at once
    take turns.
    """
    if not settings.DATABASE_IS_EMBEDDED or _is_stamped():
        return
    with (settings.DATA_DIR / "schema.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _is_stamped():
            call_command("migrate", verbosity=0, interactive=False)


def stamp() -> None:
    """Remember that the embedded database has this checkout's schema."""
    if settings.DATABASE_IS_EMBEDDED:
        _stamp().write_text(_fingerprint(), encoding="ascii")


def _is_stamped() -> bool:
    return _stamp().is_file() and _stamp().read_text(encoding="ascii") == _fingerprint()


def _stamp() -> Path:
    return Path(settings.DATA_DIR) / "schema.stamp"


def _fingerprint() -> str:
    """Return what changes with any migration, and with the database directory itself."""
    digest = hashlib.sha256()
    for file in sorted(_migrations()):
        digest.update(f"{file} {file.stat().st_size}\n".encode())
    birth = settings.DATA_DIR / "postgres" / "PG_VERSION"
    digest.update(str(birth.stat().st_mtime_ns if birth.exists() else 0).encode())
    return digest.hexdigest()


def _migrations() -> list[Path]:
    folders = [Path(config.path) / "migrations" for config in apps.get_app_configs()]
    folders += [
        settings.BASE_DIR / m.replace(".", "/") for m in settings.MIGRATION_MODULES.values()
    ]
    return [file for folder in folders for file in folder.glob("*.py")]
