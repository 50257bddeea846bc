"""Loading a catalogue file."""

from __future__ import annotations

from datetime import datetime

from django.db import connection, transaction

from apps.core.actor import Actor, require
from apps.plans.document import CatalogDocument
from apps.plans.report import CatalogReport
from apps.plans.services.definitions import (
    check_references,
    define_applications,
    define_features,
    define_meters,
)
from apps.plans.services.load import Load
from apps.plans.services.load_offers import define_offers
from apps.plans.services.versions import check_plans, load_plan


@transaction.atomic
def load_catalog(
    document: CatalogDocument, *, actor: Actor, at: datetime, dry_run: bool = False
) -> CatalogReport:
    """Bring the catalogue to what the file says; plans that it does not name stay as they are.

    A plan whose prices, interval, trial, currencies, thresholds or entitlements changed gets a new
    version, and the one before is retired: its subscribers keep it. Words and the limits of coupons
    change in place. Repeating it changes nothing. A dry run does the same and takes it back, so it
    refuses what the real one would.
    Needs the ops scope. Emits PlanVersionPublished. Raises CatalogInvalid; then nothing changed.
    """
    require("manage_catalog", actor=actor)
    _one_at_a_time()
    load = Load(document, actor, at)
    define_applications(load)
    define_meters(load)
    define_features(load)
    check_references(load)
    check_plans(load)
    define_offers(load)
    load.refuse_problems()
    plans = tuple(load_plan(load, entry) for entry in document.plans)
    if dry_run:
        transaction.set_rollback(True)
    return CatalogReport(document.source, dry_run, tuple(load.definitions), plans)


def _one_at_a_time() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext('plans.load_catalog'))")
