"""System checks: a broken set-up says what to do before it serves anybody."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from django.conf import settings
from django.core.checks import ERROR, CheckMessage, Error, Tags, register, run_checks
from django.core.checks import Warning as Caution
from django.core.exceptions import ImproperlyConfigured
from django.db import connection
from django.db.utils import OperationalError

DEVELOPMENT_MARK = "development-only"
OLDEST_POSTGRESQL = 160000

ROLE_QUERY = """
SELECT r.rolsuper, r.rolbypassrls,
  EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
          WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p')
            AND pg_has_role(r.oid, c.relowner, 'USAGE')),
  EXISTS (SELECT FROM pg_roles o
          WHERE o.rolname = 'billing_ops' AND pg_has_role(r.oid, o.oid, 'USAGE'))
FROM pg_roles r WHERE r.rolname = session_user
"""


def refuse_a_broken_system() -> None:
    """Raise ImproperlyConfigured with every error that the system checks find.

    Web server, worker and scheduler call this before they serve: Django's own commands run checks,
    their entries do not.
    """
    found = run_checks(databases=["default"])
    errors = [message for message in found if message.level >= ERROR]
    if errors:
        told = "\n".join(f"{e.id}: {e.msg} {e.hint or ''}".rstrip() for e in errors)
        raise ImproperlyConfigured(f"The system does not start:\n{told}")


@register()
def production_settings(**_: Any) -> list[CheckMessage]:
    """Refuse to start a production system on development defaults."""
    if not settings.PRODUCTION:
        return []
    found = [
        (
            DEVELOPMENT_MARK in settings.SECRET_KEY or len(settings.SECRET_KEY) < 50,
            "core.E001",
            "SECRET_KEY is the development default or too short.",
            "Set SECRET_KEY (or SECRET_KEY_FILE) to 50 or more random characters.",
        ),
        (
            not settings.ALLOWED_HOSTS or "*" in settings.ALLOWED_HOSTS,
            "core.E002",
            "ALLOWED_HOSTS is not set.",
            "Set ALLOWED_HOSTS to the host names that this system answers to.",
        ),
        (
            settings.DATABASE_IS_EMBEDDED,
            "core.E003",
            "The embedded database is for development.",
            "Set DATABASE_URL and DATABASE_OWNER_URL to a PostgreSQL server of 16 or later.",
        ),
        (
            settings.EMAIL_BACKEND.endswith("console.EmailBackend"),
            "core.E004",
            "Mail is printed instead of sent.",
            "Set EMAIL_URL, for instance smtp+tls://user:password@host:587.",
        ),
        (
            "localhost" in settings.API_BASE_URL,
            "core.E005",
            "API_BASE_URL is the development default.",
            "Set API_BASE_URL to the public https:// address of this system.",
        ),
        (
            not settings.ENCRYPTION_KEYS
            or any(DEVELOPMENT_MARK in one or len(one) < 32 for one in settings.ENCRYPTION_KEYS),
            "core.E007",
            "ENCRYPTION_KEYS is the development default or too short.",
            "Set ENCRYPTION_KEYS (or ENCRYPTION_KEYS_FILE) to 32 or more random characters.",
        ),
    ]
    return [Error(text, hint=hint, id=code) for wrong, code, text, hint in found if wrong]


@register()
def event_store(**_: Any) -> list[CheckMessage]:
    """Refuse to start with CLICKHOUSE_URL and without the driver that speaks to it."""
    if not settings.CLICKHOUSE_URL or find_spec("clickhouse_connect"):
        return []
    hint = "Install the extra: pip install 'countinghouse[clickhouse]'."
    return [Error("CLICKHOUSE_URL is set, its driver is missing.", hint=hint, id="core.E006")]


@register(Tags.database)
def run_time_login(*, databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """Refuse a run-time login that row-level security would not bind, and a PostgreSQL too old.

    Runs with the database checks: `up`, `migrate`, `doctor` and the web server's entry ask for it.
    """
    if not databases or "default" not in databases:
        return []
    try:
        return [*_old_server(), *_loose_login(), *_forgetful_server()]
    except OperationalError as error:
        hint = "Check DATABASE_URL, and that the server is up."
        return [Error(f"The database cannot be reached: {error}", hint=hint, id="core.E010")]


def _old_server() -> list[CheckMessage]:
    with connection.cursor() as cursor:
        cursor.execute("SHOW server_version_num")
        version = int(cursor.fetchone()[0])
    if version >= OLDEST_POSTGRESQL:
        return []
    hint = "Use PostgreSQL 16 or later: older ones cannot grant a role without inheriting it."
    return [Error(f"PostgreSQL {version // 10000} is too old.", hint=hint, id="core.E011")]


def _forgetful_server() -> list[CheckMessage]:
    """Find what would let the server forget commits that it has acknowledged."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT name FROM pg_settings WHERE reset_val = 'off'"
            " AND name IN ('fsync', 'full_page_writes', 'synchronous_commit') ORDER BY name"
        )
        found = [name for (name,) in cursor.fetchall()]
    hint = "Set it to on: what was acknowledged must survive a crash."
    lost = [name for name in found if name != "synchronous_commit"]
    errors = [Error(f"The server has {name} off.", hint=hint, id="core.E013") for name in lost]
    if "synchronous_commit" not in found:
        return [*errors]
    said = "The server's synchronous_commit is off; this system turns it on for every transaction."
    return [*errors, Caution(said, hint=hint, id="core.W014")]


def _loose_login() -> list[CheckMessage]:
    with connection.cursor() as cursor:
        cursor.execute(ROLE_QUERY)
        superuser, bypasses, owns, inherits = cursor.fetchone()
    reasons = {
        "is a superuser": superuser,
        "has BYPASSRLS": bypasses,
        "owns tables": owns,
        "inherits billing_ops": inherits,
    }
    hint = "Connect as billing_app; `manage.py prepare_database` makes the roles."
    return [
        Error(
            f"The run-time login {reason}, so tenants are not isolated.", hint=hint, id="core.E012"
        )
        for reason, wrong in reasons.items()
        if wrong
    ]
