"""May this person use this application now: over HTTP, through the server that `up` runs.

| name | clients | limit | typical |
|---|---|---|---|
| verify_seat | 8 | a view of the default stack that reads the JSON | serializer, ORM |

Ours looks the key up, asks the database and writes the line in the log. All take turns in the same
minutes. BENCH_ROUNDS says how many, BENCH_SEATS how many organizations with 20 seats each.
"""

from __future__ import annotations

import json
import os
import random
import sys
from collections.abc import Sequence

from apps.core import clock, rls
from apps.plans import services as plans
from apps.plans.catalog import read_catalog
from apps.seats import services as seats
from apps.subscriptions import services as subscriptions
from apps.tenants import services as tenants
from tests.bench.timing import Result, result
from tests.bench.wire import Load, burst, latencies, serving
from tests.prove.ground import superuser
from tests.prove.world import ACTOR, NOW

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
ORGANIZATIONS = int(os.environ.get("BENCH_SEATS", "1000"))
SEATS, CLIENTS, REQUESTS = 20, 8, 150
REAL, NOTHING, TYPICAL = "/api/v1/verify-seat", "/bench/nothing", "/bench/typical-verify"
FEWER = 10  # the typical way gets as many requests less


def measure() -> list[Result]:
    """Let ours, the limit and the typical way take turns."""
    key, bodies = _build(), [_body(number) for number in range(ORGANIZATIONS)]
    rates: dict[str, list[float]] = {REAL: [], NOTHING: [], TYPICAL: []}
    with serving("tests.bench.server:application") as port:
        for _ in range(ROUNDS + 1):
            for path, found in rates.items():
                count = REQUESTS // FEWER if path == TYPICAL else REQUESTS
                found.append(burst(port, path, _loads(key, bodies, count)))
        for path in (REAL, NOTHING):
            half, most = latencies(port, path, _loads(key, bodies, REQUESTS))
            print(f"{path}: p50 {half:.2f} ms, p99 {most:.2f} ms", file=sys.stderr)
    ours, limit, typical = (found[1:] for found in rates.values())
    return [result("verify_seat", "requests/s", ours, limit, typical)]


def _loads(key: str, bodies: Sequence[bytes], count: int) -> list[Load]:
    return [Load(key, random.choices(bodies, k=count)) for _ in range(CLIENTS)]


def _body(number: int) -> bytes:
    asked = {
        "user_id": f"person-{random.randrange(SEATS)}",
        "application_slug": "healos",
        "external_org_id": f"clinic-{number}",
    }
    return json.dumps(asked).encode()


def _build() -> str:
    """Make one clinic by the services and the others like it; return a key of the platform."""
    with rls.ops_scope("bench: a clinic"):
        plans.load_catalog(read_catalog("seats"), actor=ACTOR, at=NOW)
        row = tenants.create_organization("clinic-0", name="Clinic", actor=ACTOR, at=NOW)
        facts = subscriptions.subscribe(
            row.pk, plan="healos-business", start=NOW, seats=SEATS, actor=ACTOR, at=NOW
        )
        first = tenants.create_user(
            "0@clinic-0.example", password="bench-pass-2026", actor=ACTOR, at=NOW
        )
        tenants.add_member(row.pk, user_id=first.pk, role="MEMBER", actor=ACTOR, at=NOW)
        seats.assign_seat(facts.public_id, person=first.email, actor=ACTOR, at=NOW)
        made = tenants.create_api_key(
            None, name="bench", scopes=["seats:verify"], actor=ACTOR, at=clock.now()
        )
    with superuser() as connection:
        for statement in COPIES:
            connection.execute(statement.format(count=ORGANIZATIONS - 1, seats=SEATS).encode())
    return made.secret


# What the services made once, made again for every organization by the database.
COPIES = (
    """INSERT INTO tenants_organization SELECT (jsonb_populate_record(o, jsonb_build_object(
         'id', o.id + n, 'public_id', 'org_bench_' || n, 'slug', 'clinic-' || n))).*
       FROM tenants_organization o, generate_series(1, {count}) n WHERE o.slug = 'clinic-0'""",
    """INSERT INTO subscriptions_subscription SELECT (jsonb_populate_record(s, jsonb_build_object(
         'id', s.id + n, 'public_id', 'sub_bench_' || n,
         'organization_id', s.organization_id + n))).*
       FROM subscriptions_subscription s, generate_series(1, {count}) n""",
    """INSERT INTO seats_pool SELECT (jsonb_populate_record(p, jsonb_build_object(
         'id', p.id + n, 'public_id', 'pool_bench_' || n, 'assigned', 0,
         'organization_id', p.organization_id + n, 'subscription_id', p.subscription_id + n))).*
       FROM seats_pool p, generate_series(1, {count}) n""",
    """INSERT INTO tenants_user SELECT (jsonb_populate_record(u, jsonb_build_object(
         'id', u.id + n, 'public_id', 'usr_bench_' || n, 'email', n || '@bench.example'))).*
       FROM tenants_user u, generate_series(1, ({count} + 1) * {seats}) n
       WHERE u.email = '0@clinic-0.example'""",
    """INSERT INTO tenants_externalid
         (public_id, application_id, organization_id, kind, external_id)
       SELECT 'ext_bench_' || o.id, s.application_id, o.id, 'organization', o.slug
       FROM tenants_organization o JOIN subscriptions_subscription s ON s.organization_id = o.id""",
    """CREATE TABLE bench_people AS
       SELECT s.organization_id, s.application_id, s.id AS subscription_id, p.id AS pool_id, n,
         (SELECT id FROM tenants_user WHERE email = '0@clinic-0.example')
           + 1 + (row_number() OVER ()) - 1 AS user_id
       FROM subscriptions_subscription s JOIN seats_pool p ON p.subscription_id = s.id,
         generate_series(0, {seats} - 1) n""",
    """INSERT INTO tenants_membership (public_id, organization_id, user_id, role)
       SELECT 'mem_bench_' || user_id, organization_id, user_id, 'MEMBER' FROM bench_people""",
    """INSERT INTO tenants_externalid
         (public_id, application_id, organization_id, kind, external_id, user_id)
       SELECT 'ext_person_' || user_id, application_id, organization_id, 'user', 'person-' || n,
         user_id FROM bench_people""",
    """UPDATE seats_seat SET status = 'released', because = 'revoked',
         during = '[2022-01-01,2022-01-02)'""",
    """INSERT INTO seats_seat (public_id, organization_id, pool_id, subscription_id, application_id,
         user_id, email, status, during, assigned_by, because, released_by)
       SELECT 'seat_bench_' || user_id, organization_id, pool_id, subscription_id, application_id,
         user_id, '', 'active', '[2023-01-01,)', 'bench', '', '' FROM bench_people""",
    "ANALYZE",
)
