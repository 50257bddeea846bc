"""`manage.py doctor`: is everything there that this system needs?"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from importlib.metadata import version
from typing import Any

import typst
from celery import current_app
from django.conf import settings
from django.core.cache import cache
from django.core.checks import CheckMessage
from django.db import connection, connections
from django.db.migrations.executor import MigrationExecutor

from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.commands import now
from apps.core import checks, outbox, rls
from apps.invoicing import pdf
from apps.invoicing import selectors as invoicing
from apps.licensing import selectors as licensing
from apps.payments import gateway
from apps.payments import selectors as payments
from apps.usage import selectors as usage
from apps.usage.models import Event

OK, WARN, FAIL = "ok", "warn", "fail"
BROKER_SECONDS = 3
LATE = timedelta(minutes=5)
CLOCK_TOLERANCE = timedelta(seconds=2)
GIGABYTE = 10**9
SCARCE, LOW = GIGABYTE // 5, GIGABYTE
UNGUARDED = """
SELECT c.relname FROM pg_class c
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'organization_id' AND NOT a.attisdropped
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
  AND NOT (c.relrowsecurity AND c.relforcerowsecurity)
  AND has_table_privilege('billing_app', c.oid, 'SELECT')
ORDER BY 1
"""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check saw: `state` is ok, warn or fail, `advice` what to do about it."""

    state: str
    seen: str
    advice: str = ""


class Command(BaseCommand):
    """Examine the installation."""

    help = (
        "Check settings, database, isolation, migrations, queue, cache, usage, event store, outbox,"
        " licences, printing and disk. Exit code 1 when something fails; warnings leave it 0."
    )
    examples = "  manage.py doctor\n  manage.py doctor --format json"

    def run(self, **options: Any) -> None:
        """Run every check and tell with the exit code whether all is well."""
        found = [(name, one) for name, check in CHECKS.items() for one in _examined(check)]
        if self.as_json:
            rows = [
                {"check": name, "state": one.state, "seen": one.seen, "advice": one.advice}
                for name, one in found
            ]
            self.print_json({"ok": not _failed(found), "checks": rows})
        else:
            cells = [(one.state, name, one.seen, one.advice) for name, one in found]
            self.print_table(["State", "Check", "Seen", "What to do"], cells)
        warned = sum(one.state == WARN for _, one in found)
        self.note(f"{len(found)} checks: {_failed(found)} failed, {warned} warnings.")
        if _failed(found):
            sys.exit(1)


def _failed(found: Sequence[tuple[str, Finding]]) -> int:
    return sum(one.state == FAIL for _, one in found)


def _examined(check: Callable[[], Iterator[Finding]]) -> list[Finding]:
    try:
        return list(check())
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the finding
        first = str(error).strip().split("\n", 1)[0]
        return [Finding(FAIL, f"{type(error).__name__}: {first}")]


def _settings() -> Iterator[Finding]:
    yield from _messages(checks.production_settings(), f"environment {settings.ENVIRONMENT}")
    if settings.PRODUCTION and not settings.STAFF_SECOND_FACTOR:
        advice = "Set STAFF_SECOND_FACTOR=true, or leave it out."
        yield Finding(WARN, "staff come in by a password alone", advice)


def _database() -> Iterator[Finding]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('server_version'), now()")
        server, clock = cursor.fetchone()
    kind = "embedded PostgreSQL" if settings.DATABASE_IS_EMBEDDED else "PostgreSQL"
    yield from _messages(checks.run_time_login(databases=["default"]), f"{kind} {server}")
    if abs(clock - now()) > CLOCK_TOLERANCE:
        yield Finding(WARN, f"its clock says {clock}", "Synchronise the clocks of the machines.")


def _messages(messages: Sequence[CheckMessage], fine: str) -> Iterator[Finding]:
    if not messages:
        yield Finding(OK, fine)
    for message in messages:
        yield Finding(FAIL, str(message.msg), message.hint or "")


def _isolation() -> Iterator[Finding]:
    with connection.cursor() as cursor:
        cursor.execute(UNGUARDED)
        open_tables = [row[0] for row in cursor.fetchall()]
    if open_tables:
        advice = "Their migrations need operations.TenantTable."
        yield Finding(FAIL, f"not guarded: {', '.join(open_tables)}", advice)
    else:
        yield Finding(OK, "every tenant table is under row-level security")


def _migrations() -> Iterator[Finding]:
    executor = MigrationExecutor(connections["owner"])
    waiting = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if waiting:
        yield Finding(FAIL, f"{len(waiting)} not applied", "Run manage.py migrate.")
    else:
        yield Finding(OK, "all applied")


def _queue() -> Iterator[Finding]:
    with current_app.connection_for_write(connect_timeout=BROKER_SECONDS) as broker:
        broker.ensure_connection(max_retries=1, timeout=BROKER_SECONDS)
        yield Finding(OK, f"{broker.transport_cls} answers")


def _cache() -> Iterator[Finding]:
    cache.set("doctor", "well", 5)
    well = cache.get("doctor") == "well"
    advice = "" if well else "Check REDIS_URL or CACHE_URL."
    yield Finding(OK if well else FAIL, "keeps what it is given" if well else "forgets", advice)


def _usage() -> Iterator[Finding]:
    with rls.ops_scope("doctor: usage"):
        epoch = usage.epoch()
        if epoch is None:
            yield Finding(WARN, "not rolled up in this database", "Run manage.py rollup_usage.")
            return
        waiting = Event.objects.filter(xid__gte=epoch.watermark, received_at__lt=now() - LATE)
        late = waiting.filter(id__gt=epoch.base_event_id).count()
    if late:
        advice = "Is the worker running? Reads stay exact, and get slower."
        yield Finding(WARN, f"{late:,} events wait to be rolled up since {LATE}", advice)
    else:
        yield Finding(OK, f"rolled up, epoch {epoch.number}")


def _event_store() -> Iterator[Finding]:
    state = usage.shipping_state()
    if not settings.CLICKHOUSE_URL:
        yield _without_clickhouse(state.thin)
        return
    seen = f"ClickHouse, {state.events:,} events in {state.blocks:,} blocks"
    if state.thin:
        seen += f", {state.thin:,} of them thinned"
    if state.there < state.events:
        advice = "Run manage.py ship_events --verify; restore ClickHouse from its backup."
        yield Finding(FAIL, f"{seen}, {state.there:,} are there", advice)
    elif not state.is_read:
        yield Finding(WARN, f"{seen}, not read yet", "Run manage.py backfill_clickhouse.")
    else:
        yield Finding(OK, seen)


def _without_clickhouse(thin: int) -> Finding:
    if not thin:
        return Finding(OK, "PostgreSQL")
    advice = "Set CLICKHOUSE_URL; restore_events is the way back."
    return Finding(FAIL, f"{thin:,} blocks of events are in ClickHouse alone", advice)


def _outbox() -> Iterator[Finding]:
    backlog = outbox.backlog()
    if backlog.dead:
        yield Finding(
            FAIL, f"{backlog.dead} dead", "See the admin, then deliver_outbox --retry-dead."
        )
    if backlog.oldest_due_at is not None and backlog.oldest_due_at < now() - LATE:
        yield Finding(WARN, f"{backlog.pending} pending, late", "Is the worker running?")
    elif not backlog.dead:
        yield Finding(OK, f"{backlog.pending} pending")


def _stripe() -> Iterator[Finding]:
    if not gateway.configured():
        yield Finding(OK, "no key: payments are recorded by hand")
        return
    with rls.ops_scope("doctor: stripe"):
        inbox, calls = payments.inbox_state(), payments.call_backlog()
    mode = "live" if gateway.livemode() else "test"
    if inbox.dead:
        yield Finding(FAIL, f"{inbox.dead} events given up", "See the admin; replay_stripe_events.")
    if calls.stuck:
        yield Finding(FAIL, f"{calls.stuck} calls stuck", "See the admin: a key was used twice.")
    waiting = [at for at in (inbox.oldest_at, calls.oldest_at) if at is not None]
    said = f"{mode} mode, {inbox.pending} events and {calls.pending} calls wait"
    if waiting and min(waiting) < now() - LATE:
        yield Finding(WARN, f"{said}, late", "Is the worker running, and Stripe up?")
    elif not (inbox.dead or calls.stuck):
        last = f"; the last event came {inbox.last_at:%F %H:%M} UTC" if inbox.last_at else ""
        yield Finding(OK, said + last)


def _billing() -> Iterator[Finding]:
    with rls.ops_scope("doctor: billing"):
        aside = len(invoicing.parked())
    if aside:
        yield Finding(FAIL, f"{aside} subscriptions set aside", "See release_parked for why.")
    else:
        yield Finding(OK, "nothing set aside")


def _licences() -> Iterator[Finding]:
    with rls.ops_scope("doctor: licences"):
        closed, keys = licensing.keys_out_of_reach(), len(licensing.signing_keys())
    if closed:
        advice = "Put back the key that sealed it in ENCRYPTION_KEYS, or run rotate_keys."
        yield Finding(FAIL, f"the key {closed[0]} cannot be opened", advice)
    else:
        yield Finding(OK, f"{keys} keys" if keys else "no key yet: the first licence makes one")


def _printing() -> Iterator[Finding]:
    fonts = typst.Fonts(include_system_fonts=False, font_paths=[str(pdf.LATIN)])
    if "Inter" not in fonts.families():
        yield Finding(FAIL, f"no Inter in {pdf.LATIN}", "Install the files anew.")
    else:
        yield Finding(OK, f"typst {version('typst')} with Inter")


def _mail() -> Iterator[Finding]:
    if settings.EMAIL_BACKEND.endswith("console.EmailBackend"):
        yield Finding(OK, "shown in the log, not sent (EMAIL_URL sends)")
    else:
        yield Finding(OK, f"{settings.EMAIL_HOST}:{settings.EMAIL_PORT}")


def _disk() -> Iterator[Finding]:
    settings.DATA_DIR.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(settings.DATA_DIR).free
    seen = f"{free / GIGABYTE:.1f} GB free in {settings.DATA_DIR}"
    if free >= LOW:
        yield Finding(OK, seen)
    else:
        yield Finding(FAIL if free < SCARCE else WARN, seen, "Make room.")


CHECKS: dict[str, Callable[[], Iterator[Finding]]] = {
    "settings": _settings,
    "database": _database,
    "isolation": _isolation,
    "migrations": _migrations,
    "queue": _queue,
    "cache": _cache,
    "usage": _usage,
    "event store": _event_store,
    "outbox": _outbox,
    "stripe": _stripe,
    "billing": _billing,
    "licences": _licences,
    "printing": _printing,
    "mail": _mail,
    "disk": _disk,
}
