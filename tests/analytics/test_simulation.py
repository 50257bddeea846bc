"""Prices tried on usage: the same sums as a bill, and nothing stored."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from apps.core import rls
from apps.invoicing.models import Invoice, InvoiceLine
from apps.plans import services as plans
from apps.plans.catalog import parse_catalog
from apps.usage.models import Event, RejectedEvent
from tests.commands.shell import run, run_json
from tests.conftest import AT, STAFF
from tests.worlds import BILLED

pytestmark = pytest.mark.django_db

RICH = """
currency: USD
applications: [{slug: lab, name: Lab}]
meters:
  - {key: calls, event_type: call, aggregation: count, dimensions: [tier]}
  - {key: peak, event_type: call, aggregation: max, value: size}
  - {key: mean, event_type: call, aggregation: avg, value: size}
  - {key: last, event_type: call, aggregation: latest, value: size}
  - {key: users, event_type: call, aggregation: unique_count, value: user}
  - {key: level, event_type: store, aggregation: weighted_sum, value: gb, allow_negative: true}
  - {key: paid, event_type: pay, aggregation: sum, value: amount}
plans:
  - code: lab
    application: lab
    name: Lab
    interval: month
    prices:
      - {key: base, type: flat, amount: "10.00"}
      - {key: setup, type: one_time, amount: "99.00"}
      - {key: after, type: flat, amount: "5.00", timing: arrears}
      - {key: gold, type: metered, meter: calls, model: per_unit, unit_amount: "0.70",
         filters: {tier: [gold]}}
      - {key: calls, type: metered, meter: calls, model: per_unit, unit_amount: "0.30"}
      - {key: peak, type: metered, meter: peak, model: per_unit, unit_amount: "0.11"}
      - {key: mean, type: metered, meter: mean, model: per_unit, unit_amount: "0.13"}
      - {key: last, type: metered, meter: last, model: per_unit, unit_amount: "0.17"}
      - {key: users, type: metered, meter: users, model: per_unit, unit_amount: "1.00"}
      - {key: level, type: metered, meter: level, model: per_unit, unit_amount: "2.00"}
      - {key: fee, type: metered, meter: paid, model: percentage, rate_percent: "2.9",
         fixed_amount: "0.30"}
"""
CHEAPER = RICH.replace('"10.00"', '"8.50"').replace('"0.70"', '"0.60"')


def event(key: str, kind: str, time: str, data: Mapping[str, Any], **more: str) -> dict[str, Any]:
    return {
        "specversion": "1.0", "id": key, "source": "lab", "type": kind, "subject": "acme",
        "time": time, "data": data, **more,
    }  # fmt: skip


EVENTS = [
    event("a", "call", "2023-11-02T10:00:00Z", {"tier": "gold", "size": 7, "user": "u1"}),
    event("b", "call", "2023-11-02T11:00:00Z", {"tier": "free", "size": "2.5", "user": "u2"}),
    event("c", "call", "2023-11-20T11:30:00Z", {"size": 4, "user": "u1"}),
    event("d", "call", "2023-11-21T00:00:00Z", {"tier": "gold", "size": 1000, "user": "u9"}),
    event("e", "store", "2023-11-11T00:00:00Z", {"gb": 30}),
    event("f", "pay", "2023-11-12T00:00:00Z", {"amount": "49.99"}),
    event("g", "pay", "2023-11-13T00:00:00Z", {"amount": "0.35"}),
    event("v", "usage.void", "2023-11-22T00:00:00Z", {}, voids="d"),
]


@pytest.fixture
def usage_file(tmp_path: Path) -> str:
    return written(tmp_path / "events.jsonl", "\n".join(json.dumps(one) for one in EVENTS))


def written(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


def rows() -> tuple[int, int, int]:
    with rls.ops_scope("test"):
        return Event.objects.count(), RejectedEvent.objects.count(), Invoice.objects.count()


def amounts(invoice: Mapping[str, Any]) -> dict[str, int]:
    return {line["key"]: line["amount"] for line in invoice["lines"]}


def test_a_simulation_charges_what_the_bill_charges(tmp_path: Path, usage_file: str) -> None:
    """10.00 + 99.00 once; a gold call 0.70, two others 0.60; peak 7 × 0.11; mean 4.5 × 0.13;
    last 4 × 0.17; 2 users; 30 GB for 20 of 30 days are 20 × 2.00; 2.9 % of 50.34 + 2 × 0.30."""
    catalog = written(tmp_path / "lab.yaml", RICH)
    told = run_json("simulate_price", usage_file, "--catalog", catalog)
    assert rows() == (0, 0, 0)
    with rls.ops_scope("test"):
        plans.load_catalog(parse_catalog(RICH, source="lab"), actor=STAFF, at=AT)
    run("create_organization", "acme", "--name", "Acme")
    run_json("subscribe", "acme", "lab", "--start", "2023-11-01T00:00:00Z")
    assert run_json("ingest_usage", usage_file)["accepted"] == len(EVENTS)
    run_json("bill_due", "--as-of", BILLED.isoformat())
    with rls.ops_scope("test"):
        rows_of = InvoiceLine.objects.filter(during__startswith__lt=BILLED)
        billed = {line.key: line.amount for line in rows_of}
    assert [amounts(one) for one in told["invoices"]] == [billed]
    assert amounts(told["invoices"][0]) == {
        "base": 10_00, "setup": 99_00, "after": 5_00, "gold": 70, "calls": 60, "peak": 77,
        "mean": 59, "last": 68, "users": 2_00, "level": 40_00, "fee": 2_06,
    }  # fmt: skip
    assert told["total"] == sum(billed.values()) == 161_40
    assert told["events"] == {"counted": 6, "voided": 1, "voiding": 1}


def test_against_another_catalogue_the_difference_is_told(tmp_path: Path, usage_file: str) -> None:
    old, new = (written(tmp_path / f"{n}.yaml", text) for n, text in enumerate((RICH, CHEAPER)))
    told = run_json("simulate_price", usage_file, "--catalog", old, "--against", new)
    assert (told["difference"], told["against"]["total"]) == (-1_60, 159_80)
    shown = run("simulate_price", usage_file, "--catalog", old, "--against", new, "--json")
    assert json.loads(shown.out) == told


def test_every_subject_is_a_customer_and_every_period_has_its_fees(tmp_path: Path) -> None:
    used = [
        event("1", "call", "2023-11-02T10:00:00Z", {}),
        event("2", "call", "2024-01-31T23:59:59Z", {}) | {"subject": "zeta"},
        event("1", "call", "2023-11-02T10:00:00Z", {}),
        event("3", "mail", "2023-11-02T10:00:00Z", {}),
        event("4", "call", "2023-11-02T10:00:00Z", {"size": -1}),
    ]
    file = written(tmp_path / "events.jsonl", "\n".join(map(json.dumps, used)) + "\nnonsense")
    catalog = written(tmp_path / "lab.yaml", RICH)
    words = ("simulate_price", file, "--catalog", catalog)
    told = run_json(*words, "--group-by", "customer")
    # 99.00 once and three months of 15.00, and one call of 0.30 each.
    assert told["groups"] == {"acme": 144_30, "zeta": 144_30}
    assert run_json(*words, "--group-by", "month")["groups"] == {
        "2023-11": 228_30, "2023-12": 30_00, "2024-01": 30_30,
    }  # fmt: skip
    assert told["events"] == {"counted": 2, "duplicate": 1, "unpriced": 1, "refused": 2}
    assert told["refused"] == {"negative": 1, "malformed": 1}
    assert run_json(*words, "--one-customer")["total"] == 144_60


def test_customers_number_their_events_each_for_themselves(tmp_path: Path) -> None:
    """Ids a and b of three customers are six calls; zeta takes back its own a and nobody else's."""
    used = [
        event(key, "call", "2023-11-02T10:00:00Z", {}) | {"subject": subject}
        for subject in ("acme", "beta", "zeta")
        for key in ("a", "b")
    ]
    used.append(event("v", "usage.void", "2023-11-02T10:00:00Z", {}, voids="a"))
    used[-1]["subject"] = "zeta"
    file = written(tmp_path / "events.jsonl", "\n".join(map(json.dumps, used)))
    words = ("simulate_price", file, "--catalog", written(tmp_path / "lab.yaml", RICH))
    told = run_json(*words)
    assert told["events"] == {"counted": 5, "voided": 1, "voiding": 1}
    calls = [amounts(one)["calls"] for one in told["invoices"]]
    assert calls == [60, 60, 30]
    merged = run_json(*words, "--one-customer")  # intake knows an id once per organization
    assert merged["events"] == {"counted": 1, "voided": 1, "voiding": 1, "duplicate": 4}


def test_the_lines_are_shown_with_their_tiers(tmp_path: Path) -> None:
    csv = "TIMESTAMP,ContextTokens\n2023-11-16 18:17:03.9799600,6000000\n"
    file = written(tmp_path / "trace.csv", csv)
    shown = run(
        "simulate_price", file, "--catalog", "gateway", "--seats", "5",
        "--type", "ai.request", "--time", "TIMESTAMP", "--data", "context_tokens=ContextTokens",
    )  # fmt: skip
    assert shown.code == 0, shown.err
    # 50.00 + 2 seats beyond 3 at 12.00 + 5 million at 0.0000015 + 1 million at 0.000001
    assert "1 Nov 2023 – 30 Nov 2023: 82.50 USD" in shown.out
    assert "5,000,000" in shown.out
    assert "1 counted" in shown.err


def test_time_that_is_left_out_is_not_charged(tmp_path: Path, usage_file: str) -> None:
    catalog = written(tmp_path / "lab.yaml", RICH)
    words = ("simulate_price", usage_file, "--catalog", catalog)
    told = run_json(*words, "--from", "2023-11-15T00:00:00Z", "--to", "2023-11-21T00:00:00Z")
    (only,) = told["invoices"]
    # The 30 GB of before are still there; the payments and the first calls are not.
    assert amounts(only)["level"] == 60_00
    assert amounts(only)["calls"] == 30
    assert amounts(only)["fee"] == 0
    assert told["events"]["outside"] == 5


def test_what_cannot_be_simulated_is_refused_in_one_line(tmp_path: Path, usage_file: str) -> None:
    unmetered = written(tmp_path / "no.yaml", RICH.replace("key: paid", "key: unpaid"))
    for words, sentence in (
        (("--catalog", "gateway", "--plan", "none"), "has no plan 'none'"),
        (("--catalog", "nowhere"), "There is no file 'nowhere'"),
        (("--catalog", unmetered), "there is no meter 'paid'"),
        (("--catalog", "gateway", "--currency", "EUR"), "not sold in EUR"),
        (("--catalog", "gateway", "--timezone", "Mars"), "'Mars' is not a time zone"),
        (("--catalog", "gateway", "--from", "2023-02-01", "--to", "2023-01-01"), "later than"),
    ):
        refused = run("simulate_price", usage_file, *words)
        assert (refused.code, refused.out) == (1, ""), words
        assert sentence in refused.err


def test_a_simulation_sends_no_statement_that_writes(tmp_path: Path, usage_file: str) -> None:
    catalog, said = written(tmp_path / "lab.yaml", RICH), []

    def hear(execute: Any, sql: str, *rest: Any) -> Any:
        said.append(sql.split()[0].upper())
        return execute(sql, *rest)

    with connection.execute_wrapper(hear):
        run_json("simulate_price", usage_file, "--catalog", catalog)
    assert not {"INSERT", "UPDATE", "DELETE"} & set(said)
