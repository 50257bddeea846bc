"""Several at once: operators who load, customers who redeem."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest
from django.conf import settings
from django.db import connection

from apps.core import rls
from apps.plans import selectors, services
from apps.plans.errors import NotRedeemable
from apps.plans.offers import CouponRules
from tests.conftest import AT, STAFF, make_organization
from tests.plans.samples import gateway
from tests.races import at_once

# What a process of its own does: waits for a line, redeems, says what came of it.
REDEEMER = """
import sys
import django
django.setup()
from datetime import UTC, datetime
from apps.core import rls
from apps.core.actor import operator
from apps.plans import selectors, services
from apps.plans.errors import NotRedeemable
organization = int(sys.argv[1])
with rls.tenant_scope(organization):
    coupon = selectors.coupon("last")
print("ready", flush=True)
sys.stdin.readline()
try:
    with rls.tenant_scope(organization):
        services.redeem(
            coupon, organization_id=organization, actor=operator("race"),
            at=datetime(2026, 3, 1, tzinfo=UTC),
        )
    print("redeemed")
except NotRedeemable:
    print("refused")
"""


def load_once(_: int) -> str:
    try:
        with rls.ops_scope("test"):
            report = services.load_catalog(gateway(), actor=STAFF, at=AT)
        return str(report.plans[0].outcome)
    finally:
        connection.close()


@pytest.mark.committed
def test_loads_at_once_make_one_version(committed_db: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(load_once, range(4)))
    assert sorted(outcomes) == ["created", "unchanged", "unchanged", "unchanged"]
    with rls.ops_scope("test"):
        assert [version.number for version in selectors.plan_versions("gateway")] == [1]


def define(max_redemptions: int) -> None:
    rules = CouponRules(
        code="last", name="Last", percent=Decimal(50), max_redemptions=max_redemptions
    )
    with rls.ops_scope("test"):
        services.define_coupon(rules, actor=STAFF, at=AT)


@pytest.mark.committed
def test_of_two_processes_that_want_the_last_use_one_gets_it(committed_db: str) -> None:
    define(max_redemptions=1)
    organizations = [make_organization(slug).pk for slug in ("one", "two")]
    racers = [_racer(organization, committed_db) for organization in organizations]
    for racer in racers:
        assert racer.stdout
        assert racer.stdout.readline() == "ready\n"
    said = [racer.communicate(timeout=60)[0].strip() for racer in _started(racers)]
    assert sorted(said) == ["redeemed", "refused"]
    with rls.ops_scope("test"):
        assert selectors.coupon("last").redeemed == 1


def _racer(organization: int, url: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", REDEEMER, str(organization)],
        cwd=settings.BASE_DIR,
        env={**os.environ, "DATABASE_URL": url},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _started(racers: list[subprocess.Popen[str]]) -> list[subprocess.Popen[str]]:
    for racer in racers:  # all are off before anybody is waited for
        assert racer.stdin
        racer.stdin.write("go\n")
        racer.stdin.flush()
    return racers


@pytest.mark.committed
def test_many_at_once_never_pass_the_limit(committed_db: str) -> None:
    define(max_redemptions=3)
    organization = make_organization("one").pk
    outcomes = at_once(8, lambda: _redeem(organization))
    assert sorted(outcomes) == [False] * 5 + [True] * 3
    with rls.ops_scope("test"):
        assert selectors.coupon("last").redeemed == 3


def _redeem(organization: int) -> bool:
    try:
        with rls.tenant_scope(organization):
            coupon = selectors.coupon("last")
            services.redeem(coupon, organization_id=organization, actor=STAFF, at=AT)
        return True
    except NotRedeemable:
        return False
