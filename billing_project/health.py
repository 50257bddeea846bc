"""`/health`: the process is alive. `/ready`: everything that it needs answers, one by one."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable

from django.conf import settings
from django.core.cache import cache
from django.db import connection, connections
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from kombu.connection import Connection

log = logging.getLogger(__name__)

LEAST_FREE_BYTES = 200 * 1024 * 1024


@require_safe
@never_cache
def health(request: HttpRequest) -> JsonResponse:
    """Answer 200 as long as the process serves requests; touches nothing."""
    return JsonResponse({"status": "ok"})


@require_safe
@never_cache
def ready(request: HttpRequest) -> JsonResponse:
    """Answer 200 when every dependency works, else 503; says which one does not, but not why.

    The reason goes to the log: it may name hosts and users.
    """
    found = {name: _try(name, check) for name, check in CHECKS.items()}
    fine = all(state == "ok" for state in found.values())
    body = {"status": "ok" if fine else "unavailable", "dependencies": found}
    return JsonResponse(body, status=200 if fine else 503)


def _try(name: str, check: Callable[[], bool]) -> str:
    try:
        return "ok" if check() else "failing"
    except Exception:  # any failure of a dependency is an answer here
        log.exception("dependency_failing", extra={"dependency": name})
        return "failing"


def _database() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        return bool(cursor.fetchone() == (1,))


def _migrations() -> bool:
    executor = MigrationExecutor(connections["default"])
    return not executor.migration_plan(executor.loader.graph.leaf_nodes())


def _broker() -> bool:
    options = settings.CELERY_BROKER_TRANSPORT_OPTIONS
    with Connection(settings.CELERY_BROKER_URL, transport_options=options) as broker:
        broker.ensure_connection(max_retries=1, timeout=2)
        return True


def _cache() -> bool:
    cache.set("ready", "yes", 5)
    return bool(cache.get("ready") == "yes")


def _disk() -> bool:
    settings.DATA_DIR.mkdir(parents=True, exist_ok=True)
    return shutil.disk_usage(settings.DATA_DIR).free > LEAST_FREE_BYTES


CHECKS: dict[str, Callable[[], bool]] = {
    "database": _database,
    "migrations": _migrations,
    "broker": _broker,
    "cache": _cache,
    "disk": _disk,
}
